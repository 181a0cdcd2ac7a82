// Package memory is the smallest backend that keeps the whole contract of
// package driver: streams live in the memory of the process and are gone with
// it. It is the reference that the conformance suite compares other backends
// with, and what a program's own tests can run on.
//
// Streams come into being with the first record that is sent to them. What a
// consumer reads are windows over what is stored: nothing is copied and
// nothing is allocated per message.
//
// # Store
//
// A [Store] holds streams and the progress of groups. Drivers on the same
// store see each other's messages as clients of one broker do. URLs name
// stores: memory://news is the same store for the whole process, memory://
// alone a new one each time.
package memory
