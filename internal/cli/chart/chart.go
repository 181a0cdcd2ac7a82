// Package chart draws numbers as text: rows of small bars, and long bars.
package chart

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/seastreamer/seastreamer/internal/cli/listing"
)

// levels are the heights of a small bar. Nothing is drawn as a dot, so that it
// differs from little, and from what is not known, which is drawn as a space.
var levels = []rune("▁▂▃▄▅▆▇█")

const nothing = '·'

// Spark is the last values as one line of width cells, the highest of them at
// full height. NaN and
// infinity are not known. Too few values stand at the right.
func Spark(values []float64, width int) string {
	values = values[max(0, len(values)-width):]
	top := 0.0
	for _, v := range values {
		if v > top && !math.IsInf(v, 1) { // which NaN is not
			top = v
		}
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", width-len(values)))
	for _, v := range values {
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			b.WriteByte(' ')
		case v <= 0:
			b.WriteRune(nothing)
		default:
			b.WriteRune(levels[max(0, int(math.Ceil(v/top*float64(len(levels))))-1)])
		}
	}
	return b.String()
}

// eighths are parts of a cell, from the left.
var eighths = []rune(" ▏▎▍▌▋▊▉")

// Bar is a bar from the left, as much of width cells as part is of whole. What is
// more than nothing is seen.
func Bar(part, whole float64, width int) string {
	if part <= 0 || whole <= 0 || width <= 0 {
		return ""
	}
	n := min(max(int(math.Round(part/whole*float64(width)*8)), 1), width*8)
	bar := strings.Repeat("█", n/8)
	if n%8 > 0 {
		bar += string(eighths[n%8])
	}
	return bar
}

// Rate is a number per second for people: three figures or so. Below zero, and
// NaN, is not known.
func Rate(v float64) string {
	switch {
	case math.IsNaN(v) || v < 0:
		return "-"
	case v == 0:
		return "0"
	case v < 0.01:
		return "<0.01"
	case v < 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	for _, unit := range []string{"", "k", "M"} {
		if v < 999.5 && unit == "" {
			return strconv.FormatFloat(v, 'f', 0, 64)
		} else if v < 999.5 {
			return figures(v) + unit
		}
		v /= 1000
	}
	return figures(v) + "G"
}

// figures is a number from 1 to 1000 with one decimal where it is small.
func figures(v float64) string {
	if v < 99.95 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// ByteRate is bytes per second for people.
func ByteRate(v float64) string {
	if math.IsNaN(v) || v < 0 {
		return "-"
	}
	return listing.Bytes(int64(math.Min(math.Round(v), 1<<62)))
}

// Arrow is a trend for people.
func Arrow(word string) string {
	switch word {
	case "growing":
		return "↑"
	case "shrinking":
		return "↓"
	case "steady":
		return "→"
	}
	return " "
}

// Time is how long something takes, for people: a dash where it is below zero.
func Time(d time.Duration) string {
	switch {
	case d < 0:
		return "-"
	case d == 0:
		return "0"
	case d < time.Second:
		return "<1s"
	case d > 1000*24*time.Hour:
		return ">1000d"
	}
	return listing.Duration(d)
}
