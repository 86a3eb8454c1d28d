// Package system holds the tests that need the whole of Tenantry: mostly the program as users
// get it, started as a process and asked over HTTP, Kafka and the command line; where a test has
// to take a part away that a process would not let go of, the same wiring from internal/daemon.
//
//	roster ─▶ tenantry import ─▶ tenantry dev ─▶ /v1/events ─▶ fold of the test's own ─┐
//	                              │      ▲                                             ├─▶ equal?
//	                              │      └── kill -9, rm -rf, a full disk …            │
//	                              ├─▶ look-ups in both regions ────────────────────────┤
//	                              └─▶ the topic, as any Kafka client reads it ─────────┘
//
// Each promise of ARCHITECTURE.md that can be kept by now has a test named after it. Nothing is
// left running: every process is waited for, and killed by its own ID where a test fails.
//
// The tests with real input need ../shared/data beside the project's root, and say so where it
// is not. TENANTRY_KILLS sets how often the longest of them kills dev in the middle of an import, and
// TENANTRY_SEED repeats the moments of a run that failed.
package system
