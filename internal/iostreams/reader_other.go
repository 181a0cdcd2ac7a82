//go:build !unix

package iostreams

// OutReaderGone does nothing here: that a reader has gone shows at the next
// write.
func (s *Streams) OutReaderGone(func()) {}
