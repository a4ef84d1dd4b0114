package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
)

// UnitsRequest asks for the results of a job's units, as far as they are committed. Units are numbered from 0 over all
// files and items of the job.
type UnitsRequest struct {
	First  int64
	Last   int64 // the first that is not asked for; 0 for all that there are, or will be
	Follow bool  // tell of the others as they come, until all have been told
	// Early asks, of units that are followed, for values before they are committed (UnitsEvent.Early).
	Early bool
	// Files asks, of values that are told early, for the file where that has them (UnitsEvent.Held). It is not sent as
	// such: who asks over an exchange says how it can take descriptors.
	Files bool
	// Listening is called once no value that is told early from then on can be missed, where units are followed; nil for
	// nobody who waits for that. It is not sent.
	Listening func()
	// Whole is called when whoever asks has left before the last line, and was told the values of all units of a job that
	// takes no more; nil for nobody who waits for that. It is not sent.
	Whole func()
}

// UnitsEvent is one line of what is told of a job's units. Each unit is told once, in no order: as committed, with its
// value if it has one, or as missing. Further fields may be added, and lines without any that is known are to be
// skipped.
type UnitsEvent struct {
	Units  [][2]int64  `json:"units,omitempty"`  // that are committed, and told by this line, as half-open ranges
	Values []UnitValue `json:"values,omitempty"` // of these units, but for those that were told early
	// Early are values of units that have run and are not committed yet, if they are asked for. They are told as soon as
	// they are known here, once, and not all are. Such a unit is told as committed later, without its value. If the
	// process that ran it is lost before that, the unit runs again, and what is committed is what it comes to then.
	Early []UnitValue `json:"early,omitempty"`
	// Held is values that lie in a file of this host, for whoever asks for files: of units that are committed where the
	// line has them in Units too, and else as Early.
	Held *HeldValues `json:"-"`
	Lost []Missing   `json:"lost,omitempty"` // set aside, or not in the result: Missing.Units of each, and why
	// NoValues says why units have no values: the results of the kind, or of this code, are of all units together.
	NoValues string    `json:"no_values,omitempty"`
	Over     *UnitsEnd `json:"over,omitempty"`   // it is the last line
	Failed   *Error    `json:"failed,omitempty"` // it is the last line: why no more can be told
}

// UnitValue is the result of one unit.
type UnitValue struct {
	Unit  int64  `json:"unit"`
	Value []byte `json:"value"` // base64
}

// HeldValues is the values of consecutive units that lie one after the other in a file, which has all of them. Nothing
// of it changes any more, but the process that has written it may be of anybody's code: who reads it takes nothing for
// sure.
type HeldValues struct {
	First int64    // unit
	At    int64    // where its value begins in the file
	Ends  []uint64 // where each value ends, counted from At
	File  *os.File
}

// TakenRequest says, of an open job of the node's user, which large values the program that appends to it has taken out
// of their files (UnitsEvent.Held). They need not be kept any more, but for the first 256 MiB of a job: whoever asks
// for one later may find that it was taken.
type TakenRequest struct {
	Values [][2]int64 `json:"values"` // unit, and bytes of its value
}

// ReleaseRequest says, of an open job of the node's user, which units have made values for others that nobody takes any
// more: nodes that can be reached remove them, and the others do when the job ends.
type ReleaseRequest struct {
	Units [][2]int64 `json:"units"` // ranges, each from its first unit to the one behind its last
}

// UnitsEnd is how a job stands when all that was asked for was told, or all that there is.
type UnitsEnd struct {
	Units int64      `json:"units"`          // that the job has so far
	Open  bool       `json:"open,omitempty"` // more may be appended
	Left  [][2]int64 `json:"left,omitempty"` // asked for and not told: not committed yet, or no units of the job
}

// Units calls on with each line of what is told of a job's units, up to the last, UnitsEvent.Over. An error of on ends
// it. Where the stream breaks off, its caller asks again for the units that were not told yet.
func (c *Client) Units(ctx context.Context, id string, req UnitsRequest, on func(UnitsEvent) error) error {
	q := url.Values{}
	if req.First != 0 {
		q.Set("first", strconv.FormatInt(req.First, 10))
	}
	if req.Last != 0 {
		q.Set("last", strconv.FormatInt(req.Last, 10))
	}
	if req.Follow {
		q.Set("follow", "1")
	}
	if req.Early {
		q.Set("early", "1")
	}
	body, err := c.do(ctx, http.MethodGet, jobPath(id, "/units")+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var ev UnitsEvent
		switch err := dec.Decode(&ev); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("%w: what is told of the job's units broke off: %w", ErrLost, err)
		case ev.Failed != nil:
			return ev.Failed
		}
		if err := on(ev); err != nil || ev.Over != nil {
			return err
		}
	}
}
