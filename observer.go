package seastreamer

import (
	"log/slog"
	"time"
)

// An Observer is told what happens inside: metrics, traces and logs hang onto
// it. Every function is optional, must not block and may be called from
// several goroutines at once. Observers must not call back into the consumer.
type Observer struct {
	// Retry: a temporary failure of op, which is tried again after wait.
	Retry func(op string, err error, wait time.Duration)
	// Commit: progress was stored, or not (it is tried again).
	Commit func(at []Position, err error)
	// Settle: verdicts on so many messages were stored, or not (they are given
	// again).
	Settle func(messages int, err error)
	// Gap: messages are missing, and the consumer goes on behind them.
	Gap func(*GapError)
	// Assigned: the consumer now reads these shards, beginning there.
	Assigned func(at []Position)
	// Revoked: the consumer no longer reads these shards.
	Revoked func(shards []Shard, lost bool)
}

// monitor is an observer and a logger, either of which may be absent.
type monitor struct {
	o   Observer
	log *slog.Logger
}

func newMonitor(o Options) monitor {
	m := monitor{o.Observer, o.Logger}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	return m
}

func (m monitor) retry(op string, err error, wait time.Duration) {
	m.log.Warn("trying again", "op", op, "error", err, "wait", wait)
	if m.o.Retry != nil {
		m.o.Retry(op, err, wait)
	}
}

func (m monitor) commit(at []Position, err error) {
	if err != nil {
		m.log.Warn("progress was not stored", "error", err)
	}
	if m.o.Commit != nil {
		m.o.Commit(at, err)
	}
}

func (m monitor) settle(messages int, err error) {
	if err != nil {
		m.log.Warn("verdicts were not stored", "messages", messages, "error", err)
	}
	if m.o.Settle != nil {
		m.o.Settle(messages, err)
	}
}

func (m monitor) gap(g *GapError) {
	m.log.Warn("messages are missing", "error", g)
	if m.o.Gap != nil {
		m.o.Gap(g)
	}
}

func (m monitor) assigned(at []Position) {
	if m.o.Assigned != nil {
		m.o.Assigned(at)
	}
}

func (m monitor) revoked(shards []Shard, lost bool) {
	if m.o.Revoked != nil {
		m.o.Revoked(shards, lost)
	}
}
