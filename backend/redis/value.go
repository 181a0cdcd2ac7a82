package redis

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// A value is one value of RESP2 as a server has sent it, which is read where it
// lies: a reply of a thousand entries is one piece of memory, in which nothing
// is copied and nothing is allocated per entry. What it returns are windows of
// it. Its ends were found by frames; what is between may still be anything.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
type value []byte

// head reads the line at b[at:] of a number, a string or a list: its number,
// below 0 for nil, and where the next line or the string begins. The kind is 0
// where there is no such line.
func head(b []byte, at int) (kind byte, n, next int) {
	if at >= len(b) {
		return 0, 0, at
	}
	kind = b[at]
	i := at + 1
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	first := i
	for ; i < len(b); i++ {
		d := b[i] - '0'
		if d > 9 {
			break
		}
		n = n*10 + int(d)
	}
	if i == first || i-first > 18 || i+1 >= len(b) || b[i] != '\r' {
		return 0, 0, at
	}
	if negative {
		n = -n
	}
	return kind, n, i + 2
}

// stringAt is the string at b[at:] as b[from:to], and where what follows it
// begins. It is not ok where there is something else, or nil.
func stringAt(b []byte, at int) (from, to, next int, ok bool) {
	kind, n, from := head(b, at)
	if kind != '$' || n < 0 || n > len(b)-from-2 {
		return 0, 0, at, false
	}
	return from, from + n, from + n + 2, true
}

// past is where what follows the value at b[at:] begins.
func past(b []byte, at int) (next int, ok bool) {
	for open := 1; open > 0; open-- {
		if at >= len(b) {
			return at, false
		}
		if b[at] == '+' || b[at] == '-' {
			i := bytes.IndexByte(b[at:], '\n')
			if i < 0 {
				return at, false
			}
			at += i + 1
			continue
		}
		kind, n, next := head(b, at)
		switch {
		case kind == '$' && n >= 0:
			if n > len(b)-next-2 {
				return at, false
			}
			next += n + 2
		case kind == '*' && n > 0:
			if n > len(b) {
				return at, false
			}
			open += n
		case kind == 0:
			return at, false
		}
		at = next
	}
	return at, true
}

func (v value) isNil() bool {
	kind, n, _ := head(v, 0)
	return (kind == '$' || kind == '*') && n < 0
}

// err is what the server has refused, as a refusal, and nil where it has not.
func (v value) err() error {
	if len(v) == 0 || v[0] != '-' {
		return nil
	}
	text, _, _ := strings.Cut(string(v[1:]), "\r")
	return refusal(strings.TrimPrefix(text, "ERR "))
}

// not is the error of a value that is not what was expected.
func (v value) not(what string) error {
	if err := v.err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %.50q is no %s", errReply, []byte(v), what)
}

func (v value) text() (string, error) {
	if len(v) > 0 && v[0] == '+' {
		return borrowed(bytes.TrimRight(v[1:], "\r\n")), nil
	}
	from, to, _, ok := stringAt(v, 0)
	if !ok {
		return "", v.not("text")
	}
	return borrowed(v[from:to]), nil
}

func (v value) number() (int64, error) {
	kind, n, _ := head(v, 0)
	if kind != ':' {
		return 0, v.not("number")
	}
	return int64(n), nil
}

// list are the elements of a list. There is none of nil.
func (v value) list() ([]value, error) {
	kind, n, at := head(v, 0)
	if v.isNil() {
		return nil, nil
	}
	if kind != '*' || n > len(v) {
		return nil, v.not("list")
	}
	list := make([]value, max(n, 0))
	for i := range list {
		end, ok := len(v), at < len(v)
		if i < n-1 { // the last one ends where v does
			end, ok = past(v, at)
		}
		if !ok {
			return nil, v.not("list")
		}
		list[i] = v[at:end:end]
		at = end
	}
	return list, nil
}

// table is a list of names and values.
func (v value) table() (map[string]value, error) {
	list, err := v.list()
	if err != nil || len(list)%2 != 0 {
		return nil, v.not("list of pairs")
	}
	m := make(map[string]value, len(list)/2)
	for i := 0; i < len(list); i += 2 {
		name, err := list[i].text()
		if err != nil {
			return nil, err
		}
		m[name] = list[i+1]
	}
	return m, nil
}

// texts are the elements of a list of strings.
func (v value) texts() ([]string, error) {
	list, err := v.list()
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(list))
	for i := range list {
		if texts[i], err = list[i].text(); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// eachStream calls f with each stream of a reply of XREAD or XREADGROUP and its
// entries, in the order of the command. Nil has no streams. It returns the
// first error.
func (v value) eachStream(f func(key string, entries value) error) error {
	streams, err := v.list()
	if err != nil {
		return err
	}
	for _, s := range streams {
		pair, err := s.list()
		if err != nil || len(pair) != 2 {
			return fmt.Errorf("%w: a stream is no pair", errReply)
		}
		key, err := pair[0].text()
		if err != nil {
			return fmt.Errorf("%w: a stream has no name", errReply)
		}
		if err := f(key, pair[1]); err != nil {
			return err
		}
	}
	return nil
}

// valueOf is what rueidis has parsed as it was: what is not read in bulk goes
// over its connections.
func valueOf(m rueidis.RedisMessage) value { return appendValue(nil, m) }

func appendValue(b []byte, m rueidis.RedisMessage) value {
	if m.IsNil() {
		return append(b, "*-1\r\n"...)
	}
	if list, err := m.ToArray(); err == nil {
		b = appendHeader(b, '*', len(list))
		for i := range list {
			b = appendValue(b, list[i])
		}
		return b
	}
	if text, err := m.ToString(); err == nil {
		return appendBulk(b, text)
	}
	if n, err := m.ToInt64(); err == nil {
		return append(strconv.AppendInt(append(b, ':'), n, 10), '\r', '\n')
	}
	if m, err := m.AsMap(); err == nil {
		b = appendHeader(b, '*', 2*len(m))
		for name, v := range m {
			b = appendValue(appendBulk(b, name), v)
		}
		return b
	}
	return append(b, "+\r\n"...) // of RESP3, where nothing of the kind is expected
}

// A refusal is what a server said in place of an answer, without ERR.
type refusal string

func (r refusal) Error() string { return string(r) }

// redirects is the node that has the slot, if that is what MOVED or ASK says.
// The host may be missing: it is that of the node that was asked.
func (r refusal) redirects(word, asked string) (addr string, ok bool) {
	words := strings.Fields(string(r))
	if len(words) != 3 || words[0] != word {
		return "", false
	}
	addr = words[2]
	if addr[0] == ':' && strings.LastIndexByte(addr, ':') == 0 {
		return net.JoinHostPort(hostOf(asked), addr[1:]), true
	}
	if i := strings.LastIndexByte(addr, ':'); i >= 0 && strings.Contains(addr[:i], ":") && addr[0] != '[' {
		addr = net.JoinHostPort(addr[:i], addr[i+1:]) // IPv6
	}
	return addr, true
}
