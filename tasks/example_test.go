package tasks_test

import (
	"fmt"

	"github.com/dtpnode/dtpnode/tasks"
)

// A cover is a set of units, and what is missing in it is found by Minus.
func ExampleCover() {
	done := tasks.CoverOf(tasks.R(0, 100), tasks.R(100, 250), tasks.R(400, 500))
	fmt.Println(done, "has", done.Len(), "units")
	fmt.Println("missing:", tasks.CoverOf(tasks.R(0, 500)).Minus(done))
	// Output:
	// [0,250) [400,500) has 350 units
	// missing: [250,400)
}

// Units are numbered over all files. Packets stay within one file and end at clusters where they can.
func ExampleDataset() {
	data, err := tasks.NewDataset([]tasks.File{
		{URL: "a.root", Entries: 250, Clusters: []int64{0, 100, 200}},
		{URL: "b.root", Entries: 100},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for rest := data.Space(); !rest.Empty(); {
		p := data.Packet(rest, 90)
		file, entry := data.Locate(p.First)
		fmt.Println(p, "of", data.Files[file].URL, "from entry", entry)
		rest.First = p.Last
	}
	// Output:
	// [0,100) of a.root from entry 0
	// [100,200) of a.root from entry 100
	// [200,250) of a.root from entry 200
	// [250,350) of b.root from entry 0
}
