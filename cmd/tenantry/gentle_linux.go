package main

import (
	"os"
	"strconv"
	"syscall"
)

// gentle leaves the processor to others that want it, such as the node whose region this process
// rebuilds. The kernel counts each thread by itself; one that is made later is as the one that makes it.
func gentle() {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return // it is but a courtesy
	}
	for _, t := range tasks {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, gentleness)
		}
	}
}

// gentleness is of 0 to 19: at 10 a thread gets a tenth of what one without gets, and all that nobody else wants.
const gentleness = 10
