package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// row is one thing that was measured, once a round.
type row struct {
	what     string
	unit     string
	measured []float64
	peer     []float64 // of nginx in the same rounds; none: there is none
	goal     goal
	note     string // why it was not measured
}

// goal is what the median is held against; the zero goal is none.
type goal struct {
	below float64 // it is less than this, in the row's unit
	ratio float64 // or it is at least this part of the peer's
}

func (r row) wanted() string {
	switch {
	case r.goal.below > 0:
		return fmt.Sprintf("< %g %s", r.goal.below, r.unit)
	case r.goal.ratio > 0:
		return fmt.Sprintf("ratio ≥ %g", r.goal.ratio)
	}
	return ""
}

// verdict is empty where nothing was wanted, or nothing was measured.
func (r row) verdict() string {
	var met bool
	switch {
	case r.goal.below > 0 && len(r.measured) > 0:
		met = median(r.measured) < r.goal.below
	case r.goal.ratio > 0 && len(r.ratios()) > 0:
		met = median(r.ratios()) >= r.goal.ratio
	default:
		return ""
	}
	if met {
		return "met"
	}
	return "missed"
}

// median is of a list that is not empty.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// quantile is of a sorted list that is not empty.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// ratios are ours to the peer's, round by round: what disturbs the machine disturbs both.
func (r row) ratios() []float64 {
	var out []float64
	for i := range min(len(r.measured), len(r.peer)) {
		out = append(out, r.measured[i]/r.peer[i])
	}
	return out
}

// number has three digits that count, and commas.
func number(v float64) string {
	switch {
	case v >= 1000:
		s := fmt.Sprintf("%.0f", v)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// spread is the median and, of several rounds, the least and the most.
func spread(values []float64, unit string) string {
	s := number(median(values))
	if unit != "" {
		s += " " + unit
	}
	if len(values) > 1 {
		s += fmt.Sprintf(" (%s to %s)", number(slices.Min(values)), number(slices.Max(values)))
	}
	return s
}

// printTable prints all rows in Markdown: the median of each, with the least and the most, and whether it
// meets its goal.
func printTable(w io.Writer, head string, rows []row) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nMedian of the rounds (least to most):\n\n", head)
	b.WriteString("| what | goal | measured | nginx beside it | ratio | rounds | verdict |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		measured, peer, ratio := r.note, "", ""
		if len(r.measured) > 0 {
			measured = spread(r.measured, r.unit)
		}
		if len(r.peer) > 0 {
			peer, ratio = spread(r.peer, r.unit), spread(r.ratios(), "")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %d | %s |\n", r.what, r.wanted(), measured, peer, ratio, len(r.measured), r.verdict())
	}
	_, err := io.WriteString(w, b.String())
	return err
}
