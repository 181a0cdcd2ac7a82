//go:build !linux && !darwin

package pipe

import (
	"context"
	"io"
	"runtime"
	"time"
)

func unsupported(path string) *PathError {
	return &PathError{Path: path, Kind: Unsupported, Reason: "named pipes are not available on " + runtime.GOOS,
		Hint: "use sea streamer produce and consume"}
}

// A Flux cannot be had on this system.
type Flux struct{}

// CreateFlux fails with Unsupported.
func CreateFlux(path string, _ FluxOptions) (*Flux, error) { return nil, unsupported(path) }

// Adopted returns nil.
func (f *Flux) Adopted() *Adopted { return nil }

// Stopping returns nil.
func (f *Flux) Stopping() <-chan struct{} { return nil }

// Stats returns nothing.
func (f *Flux) Stats() FluxStats { return FluxStats{} }

// Read returns io.EOF.
func (f *Flux) Read([]byte) (int, error) { return 0, io.EOF }

// Stop does nothing.
func (f *Flux) Stop(time.Duration) {}

// Close does nothing.
func (f *Flux) Close() error { return nil }

// An Adopted cannot be had on this system.
type Adopted struct{}

// Read returns io.EOF.
func (a *Adopted) Read([]byte) (int, error) { return 0, io.EOF }

// Remove does nothing.
func (a *Adopted) Remove() error { return nil }

// Close does nothing.
func (a *Adopted) Close() error { return nil }

// A Tap cannot be had on this system.
type Tap struct{}

// CreateTap fails with Unsupported.
func CreateTap(path string, _ TapOptions) (*Tap, error) { return nil, unsupported(path) }

// Serve does nothing.
func (t *Tap) Serve(context.Context, Source) error { return nil }

// Stopping returns nil.
func (t *Tap) Stopping() <-chan struct{} { return nil }

// Stop does nothing.
func (t *Tap) Stop() {}

// Stats returns nothing.
func (t *Tap) Stats() TapStats { return TapStats{} }

// Close does nothing.
func (t *Tap) Close() error { return nil }
