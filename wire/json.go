package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// What few bytes of JSON say may take much memory: an element of a list, be it of the wrong kind, is two bytes, and
// some hundred where it is read. So what comes from others is read by ReadJSON or ReadJSONList, which count first.

// ReadJSON reads JSON that holds no more than so many values: objects, lists, and elements of lists.
func ReadJSON(b []byte, values int, into any) error {
	if countValues(b, values) > values {
		return fmt.Errorf("could not read an answer of %d bytes: it has more than %d parts", len(b), values)
	}
	return json.Unmarshal(b, into)
}

// ReadJSONList reads a list of no more than so many elements, and values in all.
func ReadJSONList[T any](b []byte, elements, values int) (out []T, err error) {
	if countValues(b, values) > values {
		return nil, fmt.Errorf("could not read a list of %d bytes: it has more than %d parts", len(b), values)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	switch first, err := d.Token(); {
	case err != nil:
		return nil, err
	case first == nil:
		return nil, nil // null
	case first != json.Delim('['):
		return nil, fmt.Errorf("could not read a list: it begins with %v", first)
	}
	for d.More() {
		if len(out) == elements {
			return nil, fmt.Errorf("could not read a list of %d bytes: it has more than %d elements", len(b), elements)
		}
		var v T
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err = d.Token()
	return out, err
}

// countValues counts the objects and lists in JSON and the elements of the lists, and stops beyond most. Of what is no
// JSON it counts something.
func countValues(b []byte, most int) (n int) {
	var open []byte // objects and lists
	text, escaped := false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case text:
			text, escaped = c != '"', c == '\\'
		case c == '"':
			text = true
		case c == '{' || c == '[':
			open = append(open, c)
			n++
		case c == '}' || c == ']':
			open = open[:max(len(open)-1, 0)]
		case c == ',' && len(open) > 0 && open[len(open)-1] == '[':
			n++
		}
		if n > most {
			return n
		}
	}
	return n
}
