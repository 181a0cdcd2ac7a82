// Command sea produces and consumes streams in the shell: sea streamer flux,
// tap, produce, consume and more. Under the name sea-streamer the word
// streamer is left out.
package main

import (
	"os"

	"github.com/seastreamer/seastreamer/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
