// Package drivertest is the conformance suite of backends. A backend's test
// says how it is reached and runs everything that its [driver.Features] claim:
//
//	func TestConformance(t *testing.T) {
//		drivertest.Run(t, drivertest.Harness{
//			Open:   func(t testing.TB) driver.Driver { … },
//			Create: func(t testing.TB, stream string, shards int) { … },
//		})
//	}
//
// Each case quotes the sentence of the documentation that it checks and prints
// it when it fails. Which cases do not apply is computed from the features and
// from the hooks of the [Harness], printed, and counted: no case is skipped for
// any other reason.
//
// A case is an entry of a table in the file of its topic. To add one, give it a
// name and the sentence, say what it needs, and write what should happen with
// the methods of [T]; they fail the case themselves, and they wait for what
// should come with the harness's patience, so that no case sleeps.
//
// [Faults] wraps a driver so that chosen calls fail, and [Bench] measures
// producing and consuming.
package drivertest
