package ledger

import (
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestAttempts books failed attempts to end a job, each node's once a round, and says who may still try.
func TestAttempts(t *testing.T) {
	r := &Record{Want: tasks.R(0, 10)}
	book := func(a Attempt) bool {
		_, changed := r.Apply(Entry{Attempt: &a})
		return changed
	}
	if book(Attempt{Node: "a"}) {
		t.Error("booked before the job's work has ended")
	}
	r.Apply(Entry{Stop: &Stop{}})
	r.Apply(Entry{End: &End{}})
	full := Failure{Kind: "disk"}
	if !book(Attempt{Node: "a", Failure: full}) || book(Attempt{Node: "a", Failure: full}) {
		t.Error("want a node's attempt booked once")
	}
	if r.MayTry("a", "s") || !r.MayTry("b", "s") || !r.MayTry("s", "s") {
		t.Error("want all but the one that tried to be allowed to")
	}
	book(Attempt{Node: "b", Code: true, Failure: Failure{Kind: "signal"}})
	if r.MayTry("c", "s") || !r.MayTry("s", "s") {
		t.Error("want nobody but the submitter to run code again that failed")
	}
	if _, changed := r.Apply(Entry{Retry: &Retry{Round: 7}}); changed {
		t.Error("a retry of another round counts")
	}
	if _, changed := r.Apply(Entry{Retry: &Retry{}}); !changed || !r.MayTry("a", "s") || !r.MayTry("c", "s") {
		t.Error("want everybody to try again when told to")
	}
	if _, changed := r.Apply(Entry{Retry: &Retry{}}); changed {
		t.Error("a retry that comes twice begins two rounds")
	}
	if book(Attempt{Node: "a"}) {
		t.Error("an attempt of an earlier round is booked in this one")
	}
	long := strings.Repeat("x", 1<<20)
	a := Attempt{Failure: Failure{Reason: long, Stack: long, Tail: long}}.cut()
	if len(a.Reason)+len(a.Stack)+len(a.Tail) > 4*maxText {
		t.Error("texts have no bound")
	}
	r.Apply(Entry{Result: &Result{}})
	if book(Attempt{Node: "z", Round: 1}) {
		t.Error("booked after the result")
	}
}
