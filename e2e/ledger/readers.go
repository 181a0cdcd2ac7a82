//go:build unix

package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Saw is told what a reader reads: Check.Saw and Fold.Saw.
type Saw func(shard int32, key, body []byte)

// Fresh reads a stream with SeaStreamer in a process that knows nothing yet.
func Fresh(ctx context.Context, program, broker, stream string, saw Saw) error {
	text, err := json.Marshal(Task{Do: "read", From: broker, In: stream})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), TaskVariable+"="+string(text))
	return columns(cmd, saw)
}

// Kcat reads a topic with kcat, a client made of other people's code: what is
// committed, from the beginning to the end.
func Kcat(ctx context.Context, broker, topic string, saw Saw) error {
	return columns(exec.CommandContext(ctx, "kcat", "-C", "-e", "-q", "-b", broker, "-t", topic, "-o", "beginning",
		"-X", "isolation.level=read_committed", "-f", `%p\t%k\t%s\n`), saw)
}

// columns runs a program that prints shard, key and body, with tabs between.
func columns(cmd *exec.Cmd, saw Saw) error {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var bad error
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		shard, rest, _ := bytes.Cut(sc.Bytes(), []byte("\t"))
		key, body, ok := bytes.Cut(rest, []byte("\t"))
		n, err := strconv.ParseInt(string(shard), 10, 32)
		if !ok || err != nil {
			bad = fmt.Errorf("%s printed %.100q", cmd.Path, sc.Text())
			continue
		}
		saw(int32(n), key, body)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %.500s", cmd.Path, err, &said)
	}
	return errors.Join(bad, sc.Err())
}

// RedisCLI reads a sharded stream with redis-cli, in pages, on the server at
// host:port.
func RedisCLI(ctx context.Context, addr, stream string, shards int, saw Saw) error {
	const page = 5000
	i := strings.LastIndexByte(addr, ':')
	cmd := exec.CommandContext(ctx, "redis-cli", "-h", addr[:i], "-p", addr[i+1:])
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = readPages(in, bufio.NewReader(out), stream, shards, page, saw)
	return errors.Join(err, in.Close(), cmd.Wait())
}

func readPages(in io.Writer, out *bufio.Reader, stream string, shards, page int, saw Saw) error {
	for sh := range shards {
		key := stream
		if shards > 1 {
			key = fmt.Sprintf("%s:%d", stream, sh)
		}
		from := "-"
		for {
			// ECHO marks the end of the page.
			if _, err := fmt.Fprintf(in, "XRANGE %s %s + COUNT %d\nECHO end:of:page\n", key, from, page); err != nil {
				return err
			}
			entries, last, err := readPage(out, int32(sh), saw)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			if entries < page {
				break
			}
			from = "(" + last
		}
	}
	return nil
}

// readPage reads entries as redis-cli prints them to no terminal: the id, then
// names and values in turn, a line each. An id is told from a name by its form.
func readPage(out *bufio.Reader, shard int32, saw Saw) (entries int, last string, err error) {
	var key, body []byte
	have := false
	emit := func() {
		if have {
			saw(shard, key, body)
		}
		key, body, have = nil, nil, false
	}
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			return entries, last, err
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "end:of:page":
			emit()
			return entries, last, nil
		case line == "":
			continue // an empty reply
		case isID(line):
			emit()
			entries++
			last, have = line, true
			continue
		case line != "msg" && line != "key" && line != "ts":
			return entries, last, fmt.Errorf("redis-cli says %q", line)
		}
		value, err := out.ReadString('\n')
		if err != nil {
			return entries, last, err
		}
		value = strings.TrimSuffix(value, "\n")
		switch line {
		case "msg":
			body = []byte(value)
		case "key":
			key = []byte(value)
		}
	}
}

func isID(s string) bool {
	ms, n, ok := strings.Cut(s, "-")
	if !ok {
		return false
	}
	_, err1 := strconv.ParseUint(ms, 10, 64)
	_, err2 := strconv.ParseUint(n, 10, 64)
	return err1 == nil && err2 == nil
}
