package crashpoint

// Point is a moment at which a process may be made to die.
type Point string

// The points. What each is before or after is what a crash there must not spoil.
const (
	StoreBeforeCommit    Point = "store-before-commit"    // a batch is decided, and not durable
	StoreAfterCommit     Point = "store-after-commit"     // it is durable, and not answered
	RelayBeforeProduce   Point = "relay-before-produce"   // events are read from the store
	RelayMidBatch        Point = "relay-mid-batch"        // some partitions have their part of a batch, some not
	RelayAfterProduce    Point = "relay-after-produce"    // they are in Kafka, and the relay does not remember it
	RelayAfterLead       Point = "relay-after-lead"       // it leads, and has not looked at the topic
	FoldBeforeCommit     Point = "fold-before-commit"     // events are folded, and not stored in the read model
	FoldAfterCommit      Point = "fold-after-commit"      // they are, and nobody was told
	RebuildMid           Point = "rebuild-mid"            // a generation is half built
	RebuildBeforeCurrent Point = "rebuild-before-current" // it is whole, and not the one to serve
	RebuildAfterCurrent  Point = "rebuild-after-current"  // it is the one to serve, and the old one is there
	ReplayVerified       Point = "replay-verified"        // a replay has built a generation and read it back, and it has no name that could be live
	ReplayPromoted       Point = "replay-promoted"        // it has, and nobody was asked to take it
	AdoptOpened          Point = "adopt-opened"           // a node has opened what was handed over, and does not follow with it
	AdoptBeforeCurrent   Point = "adopt-before-current"   // a generation that was handed over has caught up, and look-ups go to the old one
	AdoptAfterCurrent    Point = "adopt-after-current"    // a start would serve it, and look-ups go to the old one
	AdoptAfterClose      Point = "adopt-after-close"      // look-ups go to it, and the old one is closed
)

// All are all points.
func All() []Point {
	return []Point{
		StoreBeforeCommit, StoreAfterCommit,
		RelayBeforeProduce, RelayMidBatch, RelayAfterProduce, RelayAfterLead,
		FoldBeforeCommit, FoldAfterCommit,
		RebuildMid, RebuildBeforeCurrent, RebuildAfterCurrent,
		ReplayVerified, ReplayPromoted,
		AdoptOpened, AdoptBeforeCurrent, AdoptAfterCurrent, AdoptAfterClose,
	}
}
