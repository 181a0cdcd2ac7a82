//go:build unix

package ledger

// A Fold holds the outputs of a job against its inputs: for each input that is
// there 1 + id mod 3 outputs, each once, in order within a key, and each with
// the total of its key up to that input. It shows a state that lost or doubled
// an update, which the messages alone do not.
type Fold struct {
	in    *Check // what a reading of the input saw
	parts [3]bits
	twice bits
	keys  []key // by writer and key
	v     Verdict
}

// key is how far the outputs of one key are.
type key struct {
	next  int64 // the first id of which no output came yet
	total int64 // of the inputs below next
}

// Fold begins a reading of the outputs of a job whose input was read by c.
func (c *Check) Fold() *Fold {
	p := c.b.Plan
	n := int64(p.Writers) * p.Messages
	f := &Fold{in: c, twice: newBits(n), keys: make([]key, int64(p.Writers)*p.Keys)}
	for i := range f.parts {
		f.parts[i] = newBits(n)
	}
	for i := range f.keys {
		f.keys[i].next = int64(i) % p.Keys
	}
	return f
}

// Saw takes one output, in the order in which its shard has it.
func (f *Fold) Saw(shard int32, k, body []byte) {
	f.v.Messages++
	b := f.in.b
	m, ok := b.identify(&f.v, shard, k, body)
	if !ok {
		return
	}
	i := b.bit(m.Writer, m.ID)
	if !f.in.seen.has(i) || m.Index < 0 || m.Index >= Outputs(m.ID) {
		f.v.Phantom++
		f.v.example("shard %d has %.100q, of an input that is not there", shard, body)
		return
	}
	part := f.parts[m.Index]
	if part.has(i) {
		f.twice.set(i)
		f.v.example("shard %d has output %d of message %d again", shard, m.Index, m.ID)
	}
	part.set(i)
	at := &f.keys[int64(m.Writer)*b.Plan.Keys+m.ID%b.Plan.Keys]
	if m.ID < at.next-b.Plan.Keys || m.Index > 0 && !f.parts[m.Index-1].has(i) {
		f.v.Reordered++
		f.v.example("shard %d has output %d of message %d out of order", shard, m.Index, m.ID)
		return
	}
	for ; at.next <= m.ID; at.next += b.Plan.Keys {
		if f.in.seen.has(b.bit(m.Writer, at.next)) {
			at.total += Amount(at.next)
		}
	}
	if m.Total != at.total {
		f.v.Wrong++
		f.v.example("output %d of message %d says that the total of %s is %d, want %d", m.Index, m.ID, k, m.Total, at.total)
	}
}

// Verdict is what the reading comes to. Lost are inputs without any output.
func (f *Fold) Verdict() Verdict {
	v := f.v
	v.Twice = f.twice.count()
	b := f.in.b
	for w := range b.Plan.Writers {
		for id := range b.Plan.Messages {
			i := b.bit(w, id)
			if !f.in.seen.has(i) {
				continue
			}
			have := 0
			for _, p := range f.parts {
				if p.has(i) {
					have++
				}
			}
			switch have {
			case Outputs(id):
			case 0:
				v.Lost++
				v.example("message %d of writer %d has no output", id, w)
			default:
				v.Torn++
				v.example("message %d of writer %d has %d of %d outputs", id, w, have, Outputs(id))
			}
		}
	}
	return v
}

// Seen is how many inputs have outputs.
func (f *Fold) Seen() int64 { return f.parts[0].count() }
