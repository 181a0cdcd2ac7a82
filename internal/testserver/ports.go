package testserver

import (
	"crypto/rand"
	"math/big"
	"net"
	"strconv"
)

// Ports are TCP ports that servers have to themselves until Close, also while
// they do not run: tests run beside each other, and a server that was killed
// wants its port back, which nobody else's server may have got meanwhile, for its
// clients would go there. The zero value has none.
//
// A port is kept by a UDP socket of the same number. Whoever looks for a port, in
// whatever process, asks for that first.
type Ports struct {
	kept []net.PacketConn
}

// Free finds a port of host that nobody has, and takes it together with those so
// much above it. They lie below the ports that systems give to outgoing
// connections (from 32768 on Linux, 49152 elsewhere): a client that dials a
// killed server's port from that range can connect to itself, and then the
// server cannot have its port back.
func (p *Ports) Free(host string, above ...int) int {
	const lowest, highest = 15000, 32768
	most := 0
	for _, a := range above {
		most = max(most, a)
	}
	for {
		r, err := rand.Int(rand.Reader, big.NewInt(int64(highest-lowest-most)))
		if err != nil {
			panic(err) // never, see crypto/rand
		}
		port := lowest + int(r.Int64())
		had, free := len(p.kept), p.Take(host, port)
		for _, a := range above {
			free = free && p.Take(host, port+a)
		}
		if free {
			return port
		}
		for _, c := range p.kept[had:] {
			_ = c.Close()
		}
		p.kept = p.kept[:had]
	}
}

// Take takes a port, and reports whether nobody had it.
func (p *Ports) Take(host string, port int) bool {
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		_ = c.Close()
		return false
	}
	_ = l.Close()
	p.kept = append(p.kept, c)
	return true
}

// Close gives the ports back.
func (p *Ports) Close() {
	for _, c := range p.kept {
		_ = c.Close()
	}
	p.kept = nil
}
