package wire

// Lists counts the elements of all arrays in a value that Check accepts: those that are arrays, maps or nil, which may
// become structs, and the others. Callers use it to bound memory before decoding: Unmarshal allocates no more than the
// encoded bytes and, for each element, the size of its Go type.
func Lists(b []byte) (structs, others int) {
	var open [MaxDepth + 1]int
	var list [MaxDepth + 1]bool
	open[0] = 1
	depth := 0
	for at := 0; at < len(b) && depth >= 0; {
		head, body, kids, ok := item(b[at:])
		if !ok || uint64(len(b)-at-head) < body {
			return structs, others
		}
		open[depth]--
		first := b[at]
		at += head + int(body)
		array, isMap := first>>4 == 0x9 || first == 0xdc || first == 0xdd, first>>4 == 0x8 || first == 0xde || first == 0xdf
		switch {
		case !list[depth]:
		case array || isMap || first == 0xc0: // nil may stand for a struct too
			structs++
		default:
			others++
		}
		if kids > 0 {
			if depth++; depth > MaxDepth {
				return structs, others
			}
			open[depth], list[depth] = int(kids), array
		}
		for depth >= 0 && open[depth] == 0 {
			depth--
		}
	}
	return structs, others
}
