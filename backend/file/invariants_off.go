//go:build !invariants

package file

const invariants = false
