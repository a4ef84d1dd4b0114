package rootexec

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// ownSeeds matches generators of the code's own with a seed of chance: TRandom3(0), TRandom3 r(0), new TRandom2(0),
// std::random_device. A seed of the job does not reach them.
var ownSeeds = regexp.MustCompile(`\bTRandom\w*(?:\s*<[^>]*>)?(?:\s+\w+)?\s*[({]\s*0[uUlL]*\s*[)}]|\brandom_device\b`)

// lineComments matches what the compiler does not see of a line.
var lineComments = regexp.MustCompile(`//.*|/\*.*?\*/`)

// unseeded tells who has given a job a seed which generators of the code it does not reach.
func unseeded(src Source, w work) (notes []string) {
	if w.Seed == nil {
		return nil
	}
	const most = 5
	for _, name := range slices.Sorted(maps.Keys(src.Files)) {
		if !isCode(name) || len(notes) == most {
			continue
		}
		for i, line := range strings.Split(string(src.Files[name]), "\n") {
			found := ownSeeds.FindString(lineComments.ReplaceAllString(line, ""))
			if found == "" {
				continue
			}
			notes = append(notes, fmt.Sprintf("--seed does not reach %s in %s:%d, which draws other numbers in each process: "+
				"use gRandom to have the same output again", strings.TrimSpace(found), path.Base(name), i+1))
			break
		}
	}
	return notes
}
