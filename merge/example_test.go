package merge_test

import (
	"fmt"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// A home commits partials by rule R3: what is disjoint from all that is committed is taken, what is committed already
// is dropped, and what overlaps is sent back to be offered in pieces.
func ExampleCommitted_Judge() {
	want := tasks.R(0, 100)
	partial := func(seq uint64, first, last int64) merge.Partial {
		cover := tasks.CoverOf(tasks.R(first, last))
		return merge.Partial{ID: merge.ID{Node: "n1", Seq: seq}, Cover: cover, Units: cover.Len()}
	}
	var done merge.Committed
	for _, p := range []merge.Partial{partial(1, 0, 40), partial(2, 40, 60), partial(3, 10, 20), partial(4, 50, 70)} {
		verdict := done.Judge(p, want)
		if verdict == merge.Fresh {
			done.Commit(p)
		}
		fmt.Println(p.Cover, verdict)
	}
	fmt.Println("committed:", done.Cover())
	// Output:
	// [0,40) fresh
	// [40,60) fresh
	// [10,20) duplicate
	// [50,70) overlap
	// committed: [0,60)
}

// A node has its partials merged before it offers them to the job's home, and forgets them when the home has committed
// their merge.
func ExampleLocal() {
	local := merge.NewLocal("job", "n1", "home")
	next := func() merge.ID { return merge.ID{Node: "n1", Seq: 3} }
	show := func(effects []merge.Effect) {
		for _, e := range effects {
			switch e := e.(type) {
			case merge.Merge:
				fmt.Printf("merge %d partials into %v\n", len(e.Inputs), e.ID)
			case merge.Offer:
				fmt.Printf("offer %v, which covers %v\n", e.Partial.ID, e.Partial.Cover)
			case merge.Forget:
				fmt.Printf("forget %v\n", e.ID)
			}
		}
	}
	for i, r := range []tasks.Range{tasks.R(0, 10), tasks.R(10, 30)} {
		id := merge.ID{Node: "n1", Seq: uint64(i + 1)}
		local.Add(0, merge.Partial{ID: id, Job: "job", Cover: tasks.CoverOf(r), Units: r.Len(), Holder: "n1"})
	}
	show(local.Flush(0, next))
	kids := []merge.ID{{Node: "n1", Seq: 1}, {Node: "n1", Seq: 2}}
	effects, err := local.Merged(0, merge.Partial{ID: next(), Job: "job", Kids: kids, Units: 30, Holder: "n1"})
	if err != nil {
		panic(err)
	}
	show(effects)
	show(local.Accepted(next()))
	// Output:
	// merge 2 partials into n1/3
	// offer n1/3, which covers [0,30)
	// forget n1/3
	// forget n1/1
	// forget n1/2
}
