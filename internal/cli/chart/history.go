package chart

import "strings"

// Looks is how many values a History remembers.
const Looks = 60

// A History is the last values of something that is looked at again and again:
// what a small picture is drawn of. The zero value has none; one that is nil is
// drawn as that.
type History struct {
	v [Looks]float32
	n int
}

// Add adds a value; NaN is not known.
func (h *History) Add(v float64) {
	copy(h.v[:], h.v[1:])
	h.v[Looks-1] = float32(v)
	h.n = min(h.n+1, Looks)
}

// Len is how many values there are.
func (h *History) Len() int { return h.n }

// Spark is the last values as one line of width cells.
func (h *History) Spark(width int) string {
	if h == nil {
		return strings.Repeat(" ", width)
	}
	v := make([]float64, 0, Looks)
	for _, f := range h.v[Looks-h.n:] {
		v = append(v, float64(f))
	}
	return Spark(v, width)
}
