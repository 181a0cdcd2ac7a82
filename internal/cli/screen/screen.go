// Package screen paints a terminal as a whole, for commands that show what goes
// on until they are ended.
//
// It is a few calls on golang.org/x/term and not one of the libraries for text
// interfaces: what is painted is lines, and keys are letters and arrows. The
// libraries bring event loops, layouts and some megabytes with them.
package screen

import (
	"io"
	"os"
	"strconv"
	"sync"

	"golang.org/x/term"

	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// What the terminal is told: the other screen, without a cursor and without
// going on in the next line where one is too long; and back.
const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
	leave = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// A Screen is a terminal while it is painted. Draw and Size are for one goroutine;
// Close and Guard for any.
type Screen struct {
	in, out *os.File

	mu       sync.Mutex // guards what follows; Close may come from anywhere
	state    *term.State
	shown    []string // what stands on each line
	open     bool
	dirty    bool // all has to be painted again
	keys     chan Key
	signals  chan os.Signal
	resized  chan struct{}
	reader   *iostreams.Interruptible
	reading  sync.WaitGroup
	stop     chan struct{}
	lastSize [2]int
}

// Able reports whether out is a terminal that can be painted.
func Able(ios *iostreams.Streams) bool {
	return ios.OutTTY && ios.OutFile != nil && os.Getenv("TERM") != "dumb" && prepare(ios.OutFile)
}

// Colour reports whether colours are wanted, see no-color.org.
func Colour() bool { return os.Getenv("NO_COLOR") == "" }

// Open takes the terminal over. Where standard input is one too its keys come
// from Keys, one by one and unseen; nothing is read else.
func Open(ios *iostreams.Streams) (*Screen, error) {
	s := &Screen{out: ios.OutFile, keys: make(chan Key, 16), resized: make(chan struct{}, 1), stop: make(chan struct{}), signals: make(chan os.Signal, 4)}
	if in, ok := ios.In.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		s.in = in
	}
	if err := s.take(); err != nil {
		return nil, err
	}
	s.watch()
	if s.in != nil {
		s.reader = iostreams.NewInterruptible(s.in)
		s.reading.Go(s.read)
	}
	return s, nil
}

// take switches to the other screen; give is its reverse. Both do nothing where
// that is so already: who took twice would remember the raw terminal as the one to
// go back to. Once it is closed nobody takes it again.
func (s *Screen) take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.stop:
		return os.ErrClosed
	default:
	}
	if s.open {
		return nil
	}
	if s.in != nil {
		state, err := term.MakeRaw(int(s.in.Fd()))
		if err != nil {
			return err
		}
		s.state = state
	}
	s.open, s.dirty = true, true
	_, err := io.WriteString(s.out, enter)
	return err
}

func (s *Screen) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return
	}
	s.open = false
	_, _ = io.WriteString(s.out, leave)
	if s.state != nil {
		_ = term.Restore(int(s.in.Fd()), s.state)
	}
}

// Close gives the terminal back as it was. It may be called more than once.
func (s *Screen) Close() {
	s.mu.Lock()
	select {
	case <-s.stop:
		s.mu.Unlock()
		return
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	s.give()
	s.unwatch()
	if s.reader != nil {
		s.reader.Interrupt()
	}
	s.reading.Wait()
	if s.reader != nil {
		s.reader.Close()
	}
}

// Guard is to be deferred in every goroutine that runs while the screen is open: a
// panic is printed on a terminal that is as it was.
func (s *Screen) Guard() {
	if r := recover(); r != nil {
		s.give()
		panic(r)
	}
}

// Size is that of the terminal now.
func (s *Screen) Size() (width, height int) {
	w, h, err := term.GetSize(int(s.out.Fd()))
	if err != nil || w < 1 || h < 1 {
		return 80, 24
	}
	return w, h
}

// Keys are the keys that are pressed.
func (s *Screen) Keys() <-chan Key { return s.keys }

// Resized says that the size has changed, or that all has to be drawn again.
func (s *Screen) Resized() <-chan struct{} { return s.resized }

func (s *Screen) again() {
	s.mu.Lock()
	s.dirty = true
	s.mu.Unlock()
	select {
	case s.resized <- struct{}{}:
	default:
	}
}

// Draw shows lines from the top. Of those it writes the ones that differ from
// what stands there, in one go.
func (s *Screen) Draw(lines []string) error {
	w, h := s.Size()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return nil
	}
	if size := [2]int{w, h}; size != s.lastSize {
		s.lastSize, s.dirty = size, true
	}
	b := s.changes(make([]byte, 0, 4096), lines, h)
	if len(b) == 0 {
		return nil
	}
	_, err := s.out.Write(b)
	return err
}

// changes appends what turns what is shown into lines.
func (s *Screen) changes(b []byte, lines []string, height int) []byte {
	lines = lines[:min(len(lines), height)]
	if s.dirty {
		b = append(b, "\x1b[2J"...)
		s.shown, s.dirty = s.shown[:0], false
	}
	for i := range max(len(lines), len(s.shown)) {
		is, was := "", ""
		if i < len(lines) {
			is = lines[i]
		}
		if i < len(s.shown) {
			was = s.shown[i]
		}
		if is == was {
			continue
		}
		b = append(b, "\x1b["...)
		b = strconv.AppendInt(b, int64(i+1), 10)
		b = append(b, ";1H"...)
		b = append(b, is...)
		b = append(b, "\x1b[0m\x1b[K"...)
	}
	s.shown = append(s.shown[:0], lines...)
	return b
}

// read passes keys on until the screen is closed.
func (s *Screen) read() {
	defer s.Guard()
	b := make([]byte, 256)
	for {
		n, err := s.reader.Read(b)
		if err != nil {
			return
		}
		for _, k := range parse(b[:n]) {
			select {
			case s.keys <- k:
			case <-s.stop:
				return
			}
		}
	}
}
