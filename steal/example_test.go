package steal_test

import (
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// A node with one slot gets the work of a job and begins it. A thief that has not shown yet that it does what it takes
// is given two seconds of work, on credit.
func Example() {
	s, err := steal.New(steal.Config{Self: "home", Slots: 1})
	if err != nil {
		panic(err)
	}
	data, err := tasks.NewDataset([]tasks.File{{URL: "a.root", Entries: 10_000}})
	if err != nil {
		panic(err)
	}
	show := func(effects []steal.Effect) {
		for _, e := range effects {
			switch e := e.(type) {
			case steal.Start:
				fmt.Printf("start generation %d of %s\n", e.Gen, e.Job)
			case steal.Lease:
				fmt.Printf("lease %v to generation %d\n", e.Packet, e.Gen)
			case steal.Send:
				if g := e.Msg.Grant; g != nil {
					fmt.Printf("grant %v to %s\n", g.Ranges, e.To)
				}
			}
		}
	}
	show(s.Step(0, steal.PeerUp{ID: "thief", Slots: 1}))
	show(s.Step(0, steal.Open{Job: "job", Home: "home", Data: data, Rate: 1000})) // units a second
	show(s.Step(0, steal.Work{Job: "job", Ranges: tasks.CoverOf(data.Space())}))
	request := steal.Request{ID: 1, Slots: 1, Jobs: []tasks.JobID{"job"}, Rates: []float64{1000}}
	show(s.Step(time.Millisecond, steal.Recv{From: "thief", Msg: steal.Message{Request: &request}}))
	// Output:
	// start generation 1 of job
	// lease [0,16) to generation 1
	// lease [16,32) to generation 1
	// grant [8000,10000) to thief
}
