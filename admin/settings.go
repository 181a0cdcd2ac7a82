package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// typed are the settings that have a type, by the names they have for people.
var typed = []struct {
	name  string
	parse func(s *Settings, v string) error
	show  func(s Settings) (string, bool)
}{
	{"max-age", func(s *Settings, v string) (err error) { s.MaxAge, err = parseLimit(v, driver.ParseDuration); return },
		func(s Settings) (string, bool) { return showLimit(s.MaxAge, FormatDuration) }},
	{"max-bytes", func(s *Settings, v string) (err error) { s.MaxBytes, err = parseLimit(v, driver.ParseSize); return },
		func(s Settings) (string, bool) { return showLimit(s.MaxBytes, FormatBytes) }},
	{"max-messages", func(s *Settings, v string) (err error) { s.MaxMessages, err = parseLimit(v, parseInt); return },
		func(s Settings) (string, bool) { return showLimit(s.MaxMessages, formatInt) }},
	{"max-message", func(s *Settings, v string) (err error) { s.MaxMessage, err = parseLimit(v, driver.ParseSize); return },
		func(s Settings) (string, bool) { return showLimit(s.MaxMessage, FormatBytes) }},
	{"compact", func(s *Settings, v string) (err error) { s.Compact, err = parsed(v, strconv.ParseBool); return },
		func(s Settings) (string, bool) { return show(s.Compact, strconv.FormatBool) }},
	{"replicas", func(s *Settings, v string) (err error) { s.Replicas, err = parsed(v, strconv.Atoi); return },
		func(s Settings) (string, bool) { return show(s.Replicas, strconv.Itoa) }},
	{"min-in-sync", func(s *Settings, v string) (err error) { s.MinInSync, err = parsed(v, strconv.Atoi); return },
		func(s Settings) (string, bool) { return show(s.MinInSync, strconv.Itoa) }},
}

// SettingNames are the names of the typed settings, as ParseSetting takes them.
func SettingNames() []string {
	names := make([]string, len(typed))
	for i, t := range typed {
		names[i] = t.name
	}
	return names
}

// ParseSetting adds NAME=VALUE to s: a typed setting in human units, such as
// max-age=7d, max-bytes=10GiB or max-age=unlimited, or one by the backend's own
// name, such as retention.ms=1000. NAME alone, or with the value "default", takes
// one by the backend's own name back to the default.
func ParseSetting(s *Settings, text string) error {
	name, value, has := strings.Cut(text, "=")
	for _, t := range typed {
		if t.name != name {
			continue
		}
		if !has || value == "" {
			return fmt.Errorf("setting %s has no value: write %s=VALUE", name, name)
		}
		if err := t.parse(s, value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
		return nil
	}
	if name == "" {
		return fmt.Errorf("%q is not NAME=VALUE: known are %s, and the backend's own, such as retention.ms", text, strings.Join(SettingNames(), ", "))
	}
	if s.Native == nil {
		s.Native = make(map[string]*string)
	}
	if s.Native[name] = nil; has && value != "default" {
		s.Native[name] = &value
	}
	return nil
}

// A Setting is a setting by name, in words for people.
type Setting struct{ Name, Value string }

// List is what s sets, the typed settings first.
func List(s Settings) []Setting {
	var list []Setting
	for _, t := range typed {
		if v, ok := t.show(s); ok {
			list = append(list, Setting{t.name, v})
		}
	}
	for _, name := range slices.Sorted(keys(s.Native)) {
		v := "default"
		if p := s.Native[name]; p != nil {
			v = *p
		}
		list = append(list, Setting{name, v})
	}
	return list
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// before is what now says of each setting that change sets, so that setting it
// again takes the change back; ok is false where something is not known.
func before(now StreamInfo, change Settings) (was Settings, ok bool) {
	ok = true
	take := func(set, known bool) bool { ok = ok && (!set || known); return set && known }
	n, c := now.Settings, change
	if take(c.MaxAge != nil, n.MaxAge != nil) {
		was.MaxAge = n.MaxAge
	}
	if take(c.MaxBytes != nil, n.MaxBytes != nil) {
		was.MaxBytes = n.MaxBytes
	}
	if take(c.MaxMessages != nil, n.MaxMessages != nil) {
		was.MaxMessages = n.MaxMessages
	}
	if take(c.MaxMessage != nil, n.MaxMessage != nil) {
		was.MaxMessage = n.MaxMessage
	}
	if take(c.Compact != nil, n.Compact != nil) {
		was.Compact = n.Compact
	}
	if take(c.MinInSync != nil, n.MinInSync != nil) {
		was.MinInSync = n.MinInSync
	}
	for name := range c.Native {
		i := slices.IndexFunc(now.Config, func(e ConfigEntry) bool { return e.Name == name })
		if !take(true, i >= 0 && !now.Config[max(i, 0)].Secret) {
			continue
		}
		if was.Native == nil {
			was.Native = make(map[string]*string)
		}
		if was.Native[name] = nil; now.Config[i].Source == "stream" {
			was.Native[name] = new(now.Config[i].Value)
		}
	}
	return was, ok
}

func parsed[T any](v string, parse func(string) (T, error)) (*T, error) {
	t, err := parse(v)
	return &t, err
}

// parseLimit also reads "unlimited".
func parseLimit[T ~int64](v string, parse func(string) (T, error)) (*T, error) {
	if v == "unlimited" {
		return new(T(-1)), nil
	}
	return parsed(v, parse)
}

func parseInt(v string) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a whole number from 0, nor unlimited", v)
	}
	return n, nil
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

func show[T any](p *T, format func(T) string) (string, bool) {
	if p == nil {
		return "", false
	}
	return format(*p), true
}

func showLimit[T ~int64](p *T, format func(T) string) (string, bool) {
	if p != nil && *p < 0 {
		return "unlimited", true
	}
	return show(p, format)
}

// FormatBytes is a size in words that driver.ParseSize reads, with at most three
// digits and one behind the point: 1.5GiB.
func FormatBytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatInt(n, 10) + "B"
	}
	f, u := float64(n), -1
	for f >= 1024 && u < len(units)-1 {
		f /= 1024
		u++
	}
	text := strconv.FormatFloat(f, 'f', 1, 64)
	return strings.TrimSuffix(text, ".0") + units[u:u+1] + "iB"
}

// FormatDuration is a duration in words that driver.ParseDuration reads, exact:
// 7d, 1d12h, 90s. Whole weeks are written in days.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	if d < 0 {
		b.WriteByte('-')
		d = -d
	}
	if days := d / (24 * time.Hour); days > 0 {
		fmt.Fprintf(&b, "%dd", days)
		d %= 24 * time.Hour
	}
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"h", time.Hour}, {"m", time.Minute}} {
		if n := d / u.d; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d %= u.d
		}
	}
	if d > 0 {
		b.WriteString(d.String())
	}
	return b.String()
}
