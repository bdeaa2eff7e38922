package catalogue

import (
	"slices"
	"strings"
)

// ambiguous says why the target of a $dynamicRef or $recursiveRef in a schema's document may
// depend on the way by which it is reached. It is empty if it does not.
func ambiguous(document any) string {
	var anchors []string
	reason := ""
	var walk func(any)
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for name, item := range v {
				if text, ok := item.(string); ok {
					switch name {
					case "$dynamicAnchor":
						if slices.Contains(anchors, text) {
							reason = "it has more than one $dynamicAnchor " + short(text)
						}
						anchors = append(anchors, text)
					case "$ref", "$dynamicRef", "$recursiveRef":
						if isDynamicMetaSchema(text) {
							reason = "it refers to " + short(text)
						}
					}
				}
				if name == "$recursiveAnchor" && item == true {
					if slices.Contains(anchors, "") {
						reason = "it has more than one $recursiveAnchor"
					}
					anchors = append(anchors, "")
				}
				walk(item)
			}
		}
	}
	walk(document)
	return reason
}

// isDynamicMetaSchema reports whether a reference leads to a meta-schema whose parts refer to
// each other dynamically: those of 2019-09 and later.
func isDynamicMetaSchema(reference string) bool {
	return strings.Contains(reference, "json-schema.org/draft/20")
}
