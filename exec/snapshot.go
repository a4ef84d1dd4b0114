package exec

import "context"

// SnapshotAsk says what is wanted of an output that is not finished.
type SnapshotAsk struct {
	Names []string // of objects, with * and ? for any characters
	Most  int64    // bytes of one object; larger ones are left out
	Path  string   // of the file that is written, which appears whole or not at all
}

// Snapshot is what a process tells of the named objects that it has written.
type Snapshot struct {
	Units  int64    `msgpack:"units"`  // that the objects count
	Canary uint64   `msgpack:"canary"` // of those units; only of a Viewer
	Left   []string `msgpack:"left"`   // names that were left out, since they are too large or cannot be copied
	// Pictures describe the objects; only of Viewer.Show.
	Pictures []Picture `msgpack:"pictures"`
}

// Picture describes an object of an output so that it can be drawn with few words.
type Picture struct {
	Name    string    `msgpack:"name"`
	Class   string    `msgpack:"class"`
	Title   string    `msgpack:"title"`
	Entries float64   `msgpack:"entries"` // -1 if it counts none
	Text    string    `msgpack:"text"`    // the value of a number
	Mean    float64   `msgpack:"mean"`
	RMS     float64   `msgpack:"rms"`
	Under   float64   `msgpack:"under"` // of one dimension
	Over    float64   `msgpack:"over"`
	X       Axis      `msgpack:"x"`
	Y       Axis      `msgpack:"y"`      // Bins is 0 unless there are two dimensions
	Values  []float64 `msgpack:"values"` // X.Bins * max(Y.Bins, 1), row by row from the lowest y
}

// Axis is divided into bins of one width, or is drawn as if it were.
type Axis struct {
	Bins int     `msgpack:"bins"`
	Min  float64 `msgpack:"min"`
	Max  float64 `msgpack:"max"`
}

// Snapshotter is what a Generation implements besides if named objects of its output can be written between two
// packets, without an end of the generation.
type Snapshotter interface {
	// Snapshot asks for one. told is called once, from the goroutine that calls the sink, so that the units in the
	// snapshot are those of the packets whose end the sink was told of before. While one is asked for, another is
	// ErrQueueFull. ErrEnded says, here or there, that the generation has ended.
	Snapshot(ask SnapshotAsk, told func(Snapshot, error)) error
}

// Viewable is what a Program implements besides if its generations are Snapshotters.
type Viewable interface {
	// View starts a process that merges snapshots. The caller closes it.
	View(ctx context.Context) (Viewer, error)
}

// Viewer merges named objects of snapshots and partials, one call after the other.
type Viewer interface {
	// Pick writes them to a file in the format of a partial.
	Pick(ctx context.Context, inputs []string, ask SnapshotAsk) (Snapshot, error)
	// Show writes them to a file in the format of the output, and describes them.
	Show(ctx context.Context, inputs []string, ask SnapshotAsk) (Snapshot, error)
	Close()
}
