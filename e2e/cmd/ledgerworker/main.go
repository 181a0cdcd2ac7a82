//go:build unix

// Ledgerworker does the task that its environment says, see package ledger.
// Fault programs build it where the race detector would falsify what they
// measure, and kill it.
package main

import (
	"fmt"
	"os"

	"github.com/seastreamer/seastreamer/e2e/ledger"
)

func main() {
	ledger.Main()
	fmt.Fprintln(os.Stderr, "ledgerworker: "+ledger.TaskVariable+" says nothing")
	os.Exit(2)
}
