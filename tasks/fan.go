package tasks

// Fan divides nodes that wait for work into at most fan groups, in order and of sizes that differ by one at most. The
// first of each group passes on what is for the others of it, again by Fan: so who gives to whom, and merges for
// whom, follows from the order alone.
func Fan[T any](nodes []T, fan int) (groups [][]T) {
	if len(nodes) < fan {
		fan = len(nodes)
	}
	for i := range fan {
		groups = append(groups, nodes[i*len(nodes)/fan:(i+1)*len(nodes)/fan])
	}
	return groups
}

// DealFan is to how many nodes one passes on work that is dealt.
const DealFan = 8
