// Api prints the exported API of this module's packages: every constant,
// variable, type, function and method that somebody else can use, without its
// documentation. api/v1.txt holds what it printed last, so that a change of the
// API is a change that a reviewer sees. Run it from the module's root:
//
//	make api
package main

import (
	"fmt"
	"os"
)

func main() {
	text, err := exported(".")
	if err == nil {
		_, err = os.Stdout.Write(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}
