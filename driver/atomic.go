package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Atomic is a Driver on which records and named progress change in one step,
// as input of a Transactor's output side. Features.UnitMessages is above zero
// where it works as the backend is configured.
type Atomic interface {
	// Owner opens what commits units under a name. It refuses at once, with
	// ErrUnsupported and the reason, what this backend cannot do.
	Owner(ctx context.Context, c OwnerConfig) (Owner, error)
}

// Paired is an Atomic that can keep progress in its own consumer groups where
// what is read and what is written are one cluster.
type Paired interface {
	// Pair opens an owner that also opens its input. It is ErrUnsupported where
	// in is not of this cluster: then Owner, and in's own Consumer, are used.
	Pair(ctx context.Context, in Driver, c OwnerConfig) (PairedOwner, error)
}

// A PairedOwner is an Owner that needs a say in how its input is read.
type PairedOwner interface {
	Owner
	// Consumer is Driver.Consumer. It is called once, before Claim, which the
	// consumer's Assigned event calls.
	Consumer(ctx context.Context, c ConsumerConfig) (Consumer, error)
}

// OwnerConfig says whose progress it is.
type OwnerConfig struct {
	// Name owns the progress. It is not empty, and at most 200 bytes of
	// letters, digits, '.', '_' and '-'.
	Name string
	// Shared: several live owners of one name each hold some of the shards,
	// which a group assigns to them. A claim fences earlier owners of the
	// shards claimed. Otherwise opening an owner and claiming its first shards
	// fences all earlier owners of the name.
	Shared bool
	// After is what the owner said that this one replaces, where what became of
	// its last unit or claim is not known. A claim of an owner that replaces
	// another is ErrFenced where somebody else has claimed since, and then
	// changes nothing. Where nothing was ever claimed it is like the zero value:
	// the name is taken from whoever has it. It means nothing with Shared.
	After Claimed
}

// Claimed is what an owner tells the one that replaces it. Only the driver that
// has made it looks inside.
type Claimed struct {
	// Run is random, and the same for all owners that replaced each other.
	Run string
	// Count is a number that grows with the claims of the name, as it was with
	// the latest of theirs that is known; zero where there is none.
	Count uint64
}

// An Owner commits units. Owners of different names neither fence each other
// nor share positions. After another owner of the name has claimed, a unit of
// the first is ErrFenced and leaves nothing. Owners that share a name each move
// the shards they have claimed, and a claim fences the one before. Claim and Release may be called while a unit is
// open; Begin and the Tx's own methods say who calls them. After an error that
// is neither ErrAborted nor one of a Claim that is ErrUnavailable, the owner is
// closed and another one opened: nothing else is done with it.
type Owner interface {
	// Claim takes shards of the input and returns where each of them stands.
	// In this order: it fences the earlier owners, aborts or waits out what
	// they left open, and only then reads the positions. A claim adds to what
	// is owned, also while a unit is open. A shard without a position gets the
	// one that the claim gives, stored before anything is processed. A list of
	// the name's shards, kept apart from the positions, tells that from a loss:
	// a shard that is listed without a position has lost it, Claim is ErrLost,
	// and changes nothing. Claiming a shard again returns its position again.
	// What at holds is the caller's and stays as it is.
	// at is the caller's: what is returned is another slice.
	Claim(ctx context.Context, at []Position) ([]Position, error)

	// Release gives shards up without changing their positions.
	Release(ctx context.Context, shards []Shard) error

	// Begin opens a unit. There is one at a time.
	Begin(ctx context.Context) (Tx, error)

	// Claimed is what the owner that replaces this one has to know, also after
	// Close. Any number of goroutines may call it.
	Claimed() Claimed

	// Close ends the owner. Closing an owner aborts the unit that is open.
	// After Close an owner begins no unit. It is idempotent.
	Close(ctx context.Context) error
}

// A Tx is one unit. A unit's records and its moves become visible together, or
// none of them ever does, also where the process dies at any instant. Nothing
// of a unit is visible before it is committed. The records of a unit may go to
// several shards, and to several streams, as far as the backend does not refuse
// it by name. A unit may move positions without records, and it may hold
// records without moves. A unit of UnitMessages records commits as a whole, in
// order. A record in a unit is the record that a producer would write.
type Tx interface {
	// Produce takes a record into the unit, waiting only for room. Any number
	// of goroutines may produce into a unit. The record's bytes are borrowed until
	// Commit or Abort returns. An error means that it was not taken. What goes
	// wrong later is returned by Commit.
	Produce(ctx context.Context, rec Record) error

	// Commit ends the unit. It compares each move's From with the position
	// stored and the owner with the newest one. Its error is
	//
	//   - nil: all of it is visible, and survives what the backend's class says,
	//   - ErrAborted: none of it is and never will be; the same unit may be
	//     tried again with this owner,
	//   - ErrFenced: none of it is, and another owner holds a shard of it,
	//   - ErrUnknown: only a new Claim can tell,
	//   - anything else: none of it is, and trying again would not help.
	//
	// It returns within ctx, with ErrUnknown where it had begun.
	Commit(ctx context.Context, moves []Move) error

	// Abort ends the unit. A unit that is aborted leaves no trace, and the owner
	// goes on; after an error it is abandoned.
	Abort(ctx context.Context) error
}

// A Move says that a shard of the input is done up to and without To. From is
// where the owner found it, or its own last To. A move may go back: what was
// done is to be done again.
type Move struct {
	Shard    Shard
	From, To Seq
}

// CheckOwnerName says what is wrong with the name of an owner, which has to fit
// into keys, ids and file names of every backend.
func CheckOwnerName(name string) error {
	if name == "" {
		return errors.New("the name is empty: it is what the progress is kept under")
	}
	if len(name) > 200 {
		return fmt.Errorf("the name has %d bytes: at most 200 are allowed", len(name))
	}
	if name == "." || name == ".." {
		return fmt.Errorf("the name %q is reserved", name)
	}
	other := strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	})
	if other >= 0 {
		return fmt.Errorf("the name %q: only letters, digits, '.', '_' and '-' are allowed", name)
	}
	return nil
}
