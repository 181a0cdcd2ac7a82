package file

import (
	"errors"
	"strconv"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// The settings of a stream by their own names, which are those of a URL.
const (
	setShards         = "shards"
	setSegmentSize    = "segment_size"
	setSync           = "sync"
	setRetention      = "retention"
	setRetentionBytes = "retention_bytes"
	setBuffer         = "buffer"
)

// settings is what the typed settings can say about m.
func (m meta) settings() driver.Settings {
	age, size, largest, compact, one := m.Retention, m.RetentionBytes, int64(maxRecord), false, 1
	if age == 0 {
		age = -1
	}
	if size == 0 {
		size = -1
	}
	return driver.Settings{MaxAge: &age, MaxBytes: &size, MaxMessage: &largest, Compact: &compact, Replicas: &one}
}

// config is the settings of m by name. That a setting has its default and that
// it was chosen to be that is the same on the disk.
func (m meta) config() []driver.ConfigEntry {
	zero := Options{}.newMeta(m.Name)
	source := func(same bool) string {
		if same {
			return "default"
		}
		return "stream"
	}
	return []driver.ConfigEntry{
		{Name: setRetention, Value: m.Retention.String(), Source: source(m.Retention == zero.Retention)},
		{Name: setRetentionBytes, Value: strconv.FormatInt(m.RetentionBytes, 10), Source: source(m.RetentionBytes == zero.RetentionBytes)},
		{Name: setSegmentSize, Value: strconv.FormatInt(m.SegmentSize, 10), Source: source(m.SegmentSize == zero.SegmentSize)},
		{Name: setShards, Value: strconv.Itoa(m.Shards), Source: source(m.Shards == zero.Shards), ReadOnly: true},
		{Name: setSync, Value: string(m.Sync), Source: source(m.Sync == zero.Sync)},
	}
}

// apply is m with the settings s; nil values of Native go back to those of the
// zero Options. A setting that files do not have is refused by name, with what
// to use instead.
func (m meta) apply(s driver.Settings) (meta, error) {
	lacks := func(format string, args ...any) (meta, error) {
		return meta{}, driver.Errorf(errors.ErrUnsupported, "", format, args...)
	}
	switch {
	case s.MaxMessages != nil && *s.MaxMessages >= 0:
		return lacks("files have no limit on the number of messages: use MaxAge or MaxBytes")
	case s.MaxMessage != nil && *s.MaxMessage != maxRecord:
		return lacks("the largest message is %d bytes in every stream of files: leave MaxMessage out", maxRecord)
	case s.Compact != nil && *s.Compact:
		return lacks("files are not compacted: use MaxAge or MaxBytes")
	case s.Replicas != nil && *s.Replicas != 1:
		return lacks("files are on this machine only: Replicas is 1")
	case s.MinInSync != nil && *s.MinInSync != 1:
		return lacks("files are on this machine only: MinInSync is 1; sync=always has writes wait for the disk")
	}
	if s.MaxAge != nil {
		if *s.MaxAge == 0 {
			return m, driver.Errorf(driver.ErrInvalid, "", "MaxAge is 0: below zero keeps messages for ever")
		}
		m.Retention = max(*s.MaxAge, 0)
	}
	if s.MaxBytes != nil {
		if *s.MaxBytes == 0 {
			return m, driver.Errorf(driver.ErrInvalid, "", "MaxBytes is 0: below zero is without a limit")
		}
		m.RetentionBytes = max(*s.MaxBytes, 0)
	}
	defaults := Options{}.newMeta(m.Name)
	for name, value := range s.Native {
		if err := m.set(name, value, &defaults); err != nil {
			return m, err
		}
	}
	if err := m.check(); err != nil {
		return m, driver.Errorf(driver.ErrInvalid, "", "the settings would be impossible: %w", err)
	}
	return m, nil
}

// set changes one setting by its own name.
func (m *meta) set(name string, value *string, defaults *meta) error {
	bad := func(err error) error {
		return driver.Errorf(driver.ErrInvalid, "", "setting %s: %w", name, err)
	}
	switch name {
	case setRetention:
		d := defaults.Retention
		if value != nil {
			var err error
			if d, err = driver.ParseDuration(*value); err != nil {
				return bad(err)
			}
		}
		m.Retention = d
	case setRetentionBytes, setSegmentSize:
		n := defaults.RetentionBytes
		if name == setSegmentSize {
			n = defaults.SegmentSize
		}
		if value != nil {
			var err error
			if n, err = driver.ParseSize(*value); err != nil {
				return bad(err)
			}
		}
		if name == setRetentionBytes {
			m.RetentionBytes = n
			return nil
		}
		if n < minSegment {
			return bad(errors.New("at least " + strconv.Itoa(minSegment) + " bytes are needed"))
		}
		m.SegmentSize = n
	case setSync:
		s := defaults.Sync
		if value != nil {
			s = Sync(*value)
		}
		if s != SyncNever && s != SyncInterval && s != SyncAlways {
			return bad(errors.New(strconv.Quote(string(s)) + ": never, interval or always is wanted"))
		}
		m.Sync = s
	case setShards:
		return driver.Errorf(errors.ErrUnsupported, "", "setting %s: use AddShards", name)
	default:
		return driver.Errorf(errors.ErrUnsupported, "", "a stream of files has no setting %q: it has %s, %s, %s and %s", name, setRetention, setRetentionBytes, setSegmentSize, setSync)
	}
	return nil
}

// nodeConfig is the options of a driver by name.
func (o Options) nodeConfig() []driver.ConfigEntry {
	m := o.newMeta("")
	buffer := o.Buffer
	if buffer == 0 {
		buffer = defaultBuffer
	}
	source := func(given bool) string {
		if given {
			return "node"
		}
		return "default"
	}
	entry := func(name, value string, given bool) driver.ConfigEntry {
		return driver.ConfigEntry{Name: name, Value: value, Source: source(given), ReadOnly: true}
	}
	return []driver.ConfigEntry{
		entry(setBuffer, strconv.FormatInt(buffer, 10), o.Buffer != 0),
		entry(setRetention, o.Retention.String(), o.Retention != time.Duration(0)),
		entry(setRetentionBytes, strconv.FormatInt(o.RetentionBytes, 10), o.RetentionBytes != 0),
		entry(setSegmentSize, strconv.FormatInt(m.SegmentSize, 10), o.SegmentSize != 0),
		entry(setShards, strconv.Itoa(m.Shards), o.Shards != 0),
		entry(setSync, string(m.Sync), o.Sync != ""),
	}
}
