package file

import (
	"sync"
	"testing"
)

// A block that was given back is somebody else's at once.
func TestBlockGivenBack(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 20_000 {
				newBlock(1 + i%blockSizes[0]).free()
			}
		})
	}
	all.Wait()
}
