//go:build !race

package cli

const mostMemory = 64 << 10
