package rootexec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// aboutNamed tells the user which data files and variables of the environment go with a selector unasked, and which
// files it may miss.
func aboutNamed(spec Spec) (notes []string) {
	if len(spec.Named) > 0 {
		notes = append(notes, fmt.Sprintf("%s: the code names what is in this folder, so each process gets a copy",
			fewOf(spec.Named)))
	}
	if len(spec.Unshipped) > 0 {
		notes = append(notes, fmt.Sprintf("%s: the code names what is here, and it does not go along, since it is too large "+
			"or outside of this folder, so that no process finds it: name it by an absolute path that all hosts see, or "+
			"have it in this folder with --include (up to 16 MiB)", fewOf(spec.Unshipped)))
	}
	if len(spec.Env) > 0 {
		notes = append(notes, fmt.Sprintf("%s: the code reads these from the environment, so each process has the values of "+
			"yours", fewOf(slices.Sorted(maps.Keys(spec.Env)))))
	}
	return notes
}

// fewOf lists names, and says how many more there are.
func fewOf(names []string) string {
	const most = 8
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
