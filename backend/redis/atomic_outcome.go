package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/seastreamer/seastreamer/driver"
)

// outcome is what became of the unit.
func (t *tx) outcome(moves []driver.Move, said ownerAnswer, maybe bool, err error) error {
	o := t.o
	switch {
	case err != nil && maybe:
		return &driver.Error{Kind: driver.ErrUnknown, Err: fmt.Errorf("no answer to a unit of %q: %w", o.conf.Name, bare(err))}
	case err != nil:
		return aborted(err)
	case said.refused != "":
		keys := []string{strconv.Quote(o.progress)}
		for _, p := range t.order {
			keys = append(keys, strconv.Quote(p.key))
		}
		return aborted(o.refusal(said, "one of the keys "+strings.Join(keys, ", ")))
	}
	text := ""
	if len(said.words) > 0 {
		text = said.words[0]
	}
	word, rest, _ := cutWord(text)
	num, rest, _ := cutWord(rest)
	n, _ := strconv.Atoi(num)
	switch word {
	case "OK":
		if said.short != nil {
			return &driver.Error{Kind: driver.ErrUnknown, Err: said.short}
		}
		return nil
	case "FENCED":
		return o.fenced()
	case "BEHIND":
		return o.behind()
	case "POSITION":
		if n >= 1 && n <= len(moves) {
			m := &moves[n-1]
			return &driver.Error{Shard: m.Shard, Kind: driver.ErrUnknown, Err: fmt.Errorf("the progress of %q stands at %s, and not at %v as this owner believes", o.conf.Name, printable(rest), m.From)}
		}
	case "TYPE":
		if n == 1 {
			return driver.Errorf(driver.ErrInvalid, "", "%s: key %q is no hash: somebody else uses it", o.name(), o.progress)
		}
		if s := t.output(n); s != nil {
			return &driver.Error{Shard: s.Shard, Kind: driver.ErrInvalid, Err: fmt.Errorf("key %q on %s is no stream: choose another name, or delete the key", s.key, o.name())}
		}
	case "MISSING":
		if s := t.output(n); s != nil {
			return &driver.Error{Shard: s.Shard, Kind: driver.ErrNotFound, Err: errors.New("there is no such stream, and no_autocreate is set")}
		}
	case "PARTIAL":
		return driver.Errorf(driver.ErrInvalid, "", "%s has written a part of a unit of %q and could not take it back: %s", o.name(), o.conf.Name, printable(strings.TrimPrefix(text, word)))
	}
	return driver.Errorf(driver.ErrUnknown, "", "%s: unexpected answer to a unit: %q", o.name(), printable(text))
}

// output is the shard of key n of the script.
func (t *tx) output(n int) *shard {
	if n < 2 || n-2 >= len(t.order) {
		return nil
	}
	return t.order[n-2].shard
}

// aborted is why a unit was certainly not carried out, as ErrAborted where
// trying it again may help.
func aborted(err error) error {
	var d *driver.Error
	switch {
	case errors.As(err, &d) && !errors.Is(d.Kind, driver.ErrUnavailable) && d.Kind != nil:
		return err
	case errors.As(err, &d) && d.Kind == nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &driver.Error{Kind: driver.ErrAborted, Err: bare(err)}
}

// bare is err without the kind that is said otherwise.
func bare(err error) error {
	var d *driver.Error
	if errors.As(err, &d) && d.Err != nil {
		return d.Err
	}
	return err
}
