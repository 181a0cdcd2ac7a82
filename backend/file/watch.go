package file

// A watch wakes somebody the next time that a file is written to. It fires at
// most once each time it is armed; wake runs on a shared goroutine and must
// not block. Its other fields belong to the watcher.
type watch struct {
	wake func()
	id   int32 // where armed
	on   bool
}

// watchers is the one watcher of this process: the number of inotify instances
// of a user is small (128 by default).
var watchers watcher
