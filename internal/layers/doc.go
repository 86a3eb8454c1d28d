// Package layers holds the import table of the project, each row with its reason, and the
// test that keeps the tree to it. It has no code of its own to import.
//
//	cmd/tenantry
//	     │
//	internal/daemon
//	     │
//	queryapi   replay   commands/adminapi      each knows what is below it,
//	     │        │         │                  never what stands beside it
//	projections   │      commands   events/relay
//	     └────────┴─────────┴───────────┘
//	                    events
//	                    schemas
//
// Guaranteed, for every file that is not a test and on every platform:
//   - a package imports only those packages of the project that its row names, and a row
//     can only name rows below it, so imports go down and never around;
//   - a library that has a home (Badger, kafka-go, pgx, echo …) is imported only there;
//   - what is for tests (testing, rapid, storetest …) is imported only by what is for tests;
//   - what a compute node links with package client stays small, dependencies included.
//
// Files of tests may import what they like: a test that holds two sides against one another
// has to see both.
//
// To add a package, add its row to table_test.go. To break a row, change its reason first.
package layers
