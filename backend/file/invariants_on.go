//go:build invariants

package file

// invariants: blocks are overwritten when they are released, so that whoever
// still uses one fails.
const invariants = true
