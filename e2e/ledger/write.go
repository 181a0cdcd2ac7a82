//go:build unix

package ledger

import (
	"context"
	"time"

	"github.com/seastreamer/seastreamer"
)

// write sends a writer's messages at a steady pace, from the first that its
// book has not begun, and notes in the book what becomes of each.
func (w *worker) write(ctx context.Context) error {
	book, next, err := OpenBook(w.Books, w.Writer)
	if err != nil {
		return err
	}
	p, err := w.to.Producer(ctx, seastreamer.ProducerConfig{Stream: w.Out, Durability: durability(w.to.Features())})
	if err != nil {
		return err
	}
	begun, first := time.Now(), next
	for next < w.Plan.Messages && ctx.Err() == nil {
		due := min(first+int64(time.Since(begun).Seconds()*float64(w.Rate))+1, w.Plan.Messages)
		if late := due - next; late > int64(w.Rate) { // not made good in a burst
			begun = begun.Add(time.Duration(late) * time.Second / time.Duration(w.Rate))
			continue
		}
		if due > next {
			book.Begin(next, due-next)
			w.page.put(wordOpen, 1)
		}
		for ; next < due; next++ {
			id := next
			body := Message{Run: w.Plan.Run, Writer: w.Writer, Stream: w.Out, ID: id}.Append(nil)
			r := seastreamer.Record{Shard: seastreamer.On(w.Plan.Shard(id)), Key: []byte(w.Plan.Key(id)), Value: body}
			err := p.Enqueue(ctx, r, func(_ seastreamer.Receipt, err error) { book.End(id, err) })
			if err != nil {
				return err
			}
		}
		w.page.put(wordUnits, uint64(next))
		time.Sleep(2 * time.Millisecond) // the pace
	}
	// What is under way is given time, then it is of unknown outcome.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := p.Close(end); err != nil {
		return err
	}
	w.page.put(wordOpen, 0)
	return book.Close()
}

// durability is the strongest that a backend has: the toolkit's own repeats
// must not double anything.
func durability(f seastreamer.Features) seastreamer.Durability {
	if f.Has(seastreamer.ExactlyOnce) {
		return seastreamer.ExactlyOnce
	}
	return seastreamer.AtLeastOnce
}
