package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Bounds of what is watched of a job.
const (
	MaxWatched   = 32              // names that one watcher may ask for
	MaxWatchName = 200             // bytes of one
	WatchEvery   = time.Second     // the least time between two snapshots
	MaxSnapshot  = 32 << 20        // bytes of the file of a snapshot
	MaxWatchGap  = 5 * time.Minute // the longest time that may be asked for
)

// WatchRequest asks for what is there of named objects of a job's output, while the job runs.
type WatchRequest struct {
	Names []string      // of objects; * and ? stand for any characters
	Every time.Duration // between two snapshots; at least WatchEvery
	File  bool          // send the objects, too, in a file in the format of the output
}

// WatchEvent is one line of what is told while a job is watched. Further fields may be added, and lines without any
// that is known are to be skipped.
type WatchEvent struct {
	Snapshot *Snapshot `json:"snapshot,omitempty"`
	Waits    string    `json:"waits,omitempty"`  // a snapshot is late: what it waits for, in words
	Over     JobState  `json:"over,omitempty"`   // it is the last line: how the job has ended
	Failed   *Error    `json:"failed,omitempty"` // it is the last line: why no more can be told
}

// Snapshot is what was there of the output of a job that runs. It is an approximation: it counts whole packets, some
// hundred milliseconds late, of the nodes that answered in time, each unit once at most.
type Snapshot struct {
	Seq       int64     `json:"seq"` // counts the snapshots
	At        time.Time `json:"at"`
	Units     int64     `json:"units"`     // that the objects count
	Of        int64     `json:"of"`        // units of the job
	Committed int64     `json:"committed"` // of Units
	Nodes     int       `json:"nodes"`     // that have answered
	OfNodes   int       `json:"of_nodes"`  // that work for the job
	Late      int       `json:"late"`      // processes in a long entry, of which an earlier state counts
	Left      []string  `json:"left"`      // names that were left out: too large, or of a class that cannot be copied
	Absent    []string  `json:"absent"`    // names that were asked for, and that nothing has yet
	Objects   []Picture `json:"objects"`
	SHA256    string    `json:"sha256"` // of the file
	Bytes     int64     `json:"bytes"`
	File      []byte    `json:"file,omitempty"` // base64
}

// Picture is an object of a snapshot, with as few bins as a terminal can draw.
type Picture struct {
	Name    string    `json:"name"`
	Class   string    `json:"class"`
	Title   string    `json:"title"`
	Entries float64   `json:"entries"`        // -1 if it counts none
	Text    string    `json:"text,omitempty"` // the value of a number
	Mean    float64   `json:"mean"`
	RMS     float64   `json:"rms"`
	Under   float64   `json:"under"` // below the axis, of one dimension
	Over    float64   `json:"over"`
	X       Axis      `json:"x"`
	Y       Axis      `json:"y"`      // without bins unless there are two dimensions
	Values  []float64 `json:"values"` // of the bins, row by row from the lowest y
}

// Axis of a picture.
type Axis struct {
	Bins int     `json:"bins"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

// Query is the request as that of a URL.
func (r WatchRequest) Query() url.Values {
	q := url.Values{"name": r.Names}
	if r.Every > 0 {
		q.Set("every", strconv.FormatFloat(r.Every.Seconds(), 'g', -1, 64))
	}
	if r.File {
		q.Set("file", "1")
	}
	return q
}

// Check refuses what asks for too much or for nothing.
func (r WatchRequest) Check() error {
	bad := func(format string, args ...any) error {
		return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case len(r.Names) == 0:
		return bad("could not watch: name the objects, such as h1,h2")
	case len(r.Names) > MaxWatched:
		return bad("could not watch %d names: at most %d", len(r.Names), MaxWatched)
	case r.Every != 0 && r.Every < WatchEvery || r.Every > MaxWatchGap:
		return bad("could not watch every %v: want %v to %v", r.Every, WatchEvery, MaxWatchGap)
	}
	for _, name := range r.Names {
		if name == "" || len(name) > MaxWatchName {
			return bad("could not watch %.40q: want a name of 1 to %d bytes", name, MaxWatchName)
		}
	}
	return nil
}

// Watch calls on with each line of what is told of a job's output while it runs, up to the last. An error of on ends
// it.
func (c *Client) Watch(ctx context.Context, id string, req WatchRequest, on func(WatchEvent) error) error {
	body, err := c.do(ctx, http.MethodGet, jobPath(id, "/watch")+"?"+req.Query().Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var ev WatchEvent
		switch err := dec.Decode(&ev); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("%w: what is watched of the job broke off: %w", ErrLost, err)
		case ev.Failed != nil:
			return ev.Failed
		}
		if err := on(ev); err != nil || ev.Over != "" {
			return err
		}
	}
}
