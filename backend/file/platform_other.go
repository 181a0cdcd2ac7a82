//go:build !linux && !darwin

package file

import (
	"errors"
	"os"
	"runtime"

	"github.com/seastreamer/seastreamer/driver"
)

// supported refuses: what follows is never called.
func supported() error {
	return driver.Errorf(errors.ErrUnsupported, "", "the file backend needs Linux or macOS and this is %s: name another broker, such as kafka://host:9092", runtime.GOOS)
}

func flock(*os.File, bool) (bool, error)                   { return false, errors.ErrUnsupported }
func funlock(*os.File) error                               { return errors.ErrUnsupported }
func fstat(*os.File) (size int64, links uint64, err error) { return 0, 0, errors.ErrUnsupported }
func datasync(f *os.File) error                            { return errors.ErrUnsupported }
func preallocate(*os.File, int64, int64) error             { return errors.ErrUnsupported }
func volume(string) (total, free int64, err error)         { return 0, 0, errors.ErrUnsupported }
func bootName() (string, error)                            { return "", errors.ErrUnsupported }

type leaseFile struct{}

func openLeases(*os.Root, string) (*leaseFile, error)       { return nil, errors.ErrUnsupported }
func lookLeases(*os.Root, string) (*leaseFile, error)       { return nil, errors.ErrUnsupported }
func (*leaseFile) file() *os.File                           { return nil }
func (*leaseFile) try(int64) (bool, error)                  { return false, errors.ErrUnsupported }
func (*leaseFile) unlock(int64) error                       { return errors.ErrUnsupported }
func (*leaseFile) others(lo, hi int64, f func(int64)) error { return errors.ErrUnsupported }
func (*leaseFile) Close() error                             { return nil }
