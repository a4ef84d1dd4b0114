package rootexec

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/tasks"
)

// Most selectors look for a parameter by a cast in the style of C, as in
//
//	((TParameter<double> *)fInput->FindObject("ptcut"))->GetVal()
//
// which finds that type alone which stands first in the object (child/number.h). For a number of which the user has not
// said the type this is the one that the code names with it: the bits of a Long64_t would be read as a double that is
// nearly 0.

// findsParameter matches what names the type and the name of a parameter in one statement.
var findsParameter = regexp.MustCompile(
	`TParameter\s*<\s*([A-Za-z0-9_ ]+?)\s*>[^;{}]{0,200}?FindObject\s*\(\s*"([^"\n]*)"`,
)

// namesType matches what names the type of a parameter.
var namesType = regexp.MustCompile(`TParameter\s*<\s*([A-Za-z0-9_ ]+?)\s*>`)

// firstTypes are the types of which an object that holds a whole number does not have the bits by itself, and what the
// child calls an object in which such a type stands first.
var firstTypes = map[string]string{
	"double": "first double", "Double_t": "first double", "float": "first float", "Float_t": "first float",
}

// castsOf says, by the names of parameters, which type the code casts each to; by the empty name it is that of all
// others, if the code names but one. A name that is cast to several types has none.
func castsOf(src Source) map[string]string {
	casts, all := map[string]string{}, map[string]bool{}
	note := func(name, kind string) {
		if old, known := casts[name]; known && old != kind {
			kind = ""
		}
		casts[name] = kind
	}
	for name, text := range src.Files {
		if !isCode(name) {
			continue
		}
		code := textOf(string(text), true)
		for _, m := range findsParameter.FindAllStringSubmatch(code, -1) {
			note(m[2], m[1])
		}
		for _, m := range namesType.FindAllStringSubmatch(code, -1) {
			all[m[1]] = true
		}
	}
	if kinds := slices.Collect(maps.Keys(all)); len(kinds) == 1 {
		casts[""] = kinds[0]
	}
	return casts
}

// typed are parameters with the types that casts name for those that have none.
func typed(params []tasks.Param, casts map[string]string) map[string]string {
	out := map[string]string{}
	for _, p := range params {
		kind, known := casts[p.Name]
		if !known {
			kind = casts[""]
		}
		if first := firstTypes[kind]; first != "" && !strings.Contains(p.Name, ":") {
			p.Name += ":" + first
		}
		out[p.Name] = p.Value
	}
	return out
}
