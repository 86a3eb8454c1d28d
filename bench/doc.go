// Package bench measures what takes several parts of the system at once: what one package can
// measure about itself stands beside that package. The parts are real, and so are their disks
// and connections; only the network is the machine's own.
//
// Program bench/system measures the built binary as a process, beside other programs.
//
// Nothing here passes or fails by the clock: a machine that is busy, or small, is no fault.
package bench
