package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"herald/internal/catalogue"
	"herald/internal/cli"
)

// variablePrefix begins every environment variable of Herald.
const variablePrefix = "HERALD_"

// maxVariableName bounds how much of an unknown variable's name an error shows, in bytes.
const maxVariableName = 100

func isBlank(text string) bool { return strings.TrimSpace(text) == "" }

// eachFlag calls fn for every flag of every command.
func eachFlag(parser *kong.Kong, fn func(*kong.Flag)) {
	_ = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error { // it fails only if the function does
		if flag, is := node.(*kong.Flag); is {
			fn(flag)
		}
		return next(nil)
	})
}

// ignoreBlankVariables lets the parser read no variable that is empty or blank. Compose files and
// unit files set a variable to nothing where it is not wanted; HERALD_LISTEN= is not "every interface".
func ignoreBlankVariables(parser *kong.Kong) {
	eachFlag(parser, func(flag *kong.Flag) {
		flag.Tag.Envs = nil
		for _, name := range flag.Envs {
			if !isBlank(os.Getenv(name)) {
				flag.Tag.Envs = append(flag.Tag.Envs, name)
			}
		}
	})
}

// showAllVariables undoes ignoreBlankVariables for the help, which shows what could be set.
func showAllVariables(parser *kong.Kong) {
	eachFlag(parser, func(flag *kong.Flag) { flag.Tag.Envs = flag.Envs })
}

// checkVariables refuses variables with the prefix that no flag of any command reads: a misspelt one
// would leave a setting at its default. All commands know the variables of all others, because one
// environment often serves several.
func checkVariables(parser *kong.Kong, environment []string) error {
	var known []string
	eachFlag(parser, func(flag *kong.Flag) { known = append(known, flag.Envs...) })
	var faults []string
	for _, setting := range environment {
		name, value, _ := strings.Cut(setting, "=")
		if !strings.HasPrefix(name, variablePrefix) || isBlank(value) || slices.Contains(known, name) || isServiceLink(name, value) {
			continue
		}
		hint := "herald help serve lists those there are"
		if right := nearestVariable(name, known); right != "" {
			hint = "did you mean " + right + "?"
		}
		faults = append(faults, fmt.Sprintf("there is no variable %s; %s", cli.Brief(cli.Clean(name), maxVariableName), hint))
	}
	if len(faults) == 0 {
		return nil
	}
	slices.Sort(faults)
	return usageError("%s", strings.Join(faults, "; "))
}

// serviceLink are the names that Kubernetes, and links between Docker containers, set for a service
// whose name begins with herald: HERALD_SERVICE_HOST, HERALD_SERVICE_PORT, HERALD_PORT_8080_TCP_ADDR
// and their like.
var serviceLink = regexp.MustCompile(`^HERALD(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// linkedPort is the value of the variable …_PORT of such a service. A person's HERALD_PORT=8080 is none.
var linkedPort = regexp.MustCompile(`^(tcp|udp|sctp)://`)

// isServiceLink reports whether a container platform set a variable. Herald does not read those, and
// they are no mistake of the operator.
func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && linkedPort.MatchString(value)
}

// otherNames are names that people expect, and those that mean it.
var otherNames = map[string]string{
	"PORT": "HERALD_LISTEN", "HOST": "HERALD_LISTEN", "ADDR": "HERALD_LISTEN", "ADDRESS": "HERALD_LISTEN", "BIND": "HERALD_LISTEN",
	"KEY": "HERALD_API_KEY", "DB": "HERALD_DATABASE",
}

// nearestVariable returns the variable that a wrong name most likely means, or "". A third of the
// letters may be wrong, or words may be missing or too many at the end.
func nearestVariable(wrong string, known []string) string {
	guess := strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(strings.TrimPrefix(wrong, variablePrefix)))
	if right := otherNames[guess]; right != "" {
		return right
	}
	if len(guess) > maxVariableName {
		return ""
	}
	best, least, begins := "", len(guess)/3+1, ""
	for _, name := range known {
		right := strings.TrimPrefix(name, variablePrefix)
		if n := catalogue.Distance([]rune(guess), []rune(right)); n < least {
			best, least = name, n
		}
		if len(name) > len(begins) && (strings.HasPrefix(guess, right+"_") || begins == "" && strings.HasPrefix(right, guess+"_")) {
			begins = name
		}
	}
	if least > 2 && begins != "" {
		return begins
	}
	return best
}

// mayBeEmpty reports whether an empty value of a flag means something: pointers are for that.
func mayBeEmpty(flag *kong.Flag) bool {
	return flag.IsBool() || flag.Target.Kind() == reflect.Pointer || flag.Enum != "" && flag.EnumMap()[""]
}

// checkFlags refuses flags with an empty or blank value, as a script's unset variable gives. They would
// mean the default, no filter or no guard, without a word.
func checkFlags(parsed *kong.Context) error {
	flags := make(map[string]*kong.Flag)
	for _, flag := range parsed.Flags() {
		flags[flag.Name] = flag
	}
	for i := 0; i < len(parsed.Args) && parsed.Args[i] != "--"; i++ {
		name, isFlag := strings.CutPrefix(parsed.Args[i], "--")
		name, value, has := strings.Cut(name, "=")
		flag := flags[name]
		if !isFlag || flag == nil || flag.IsBool() {
			continue
		}
		if !has {
			if i++; i == len(parsed.Args) {
				return nil
			}
			value = parsed.Args[i]
		}
		if !isBlank(value) || mayBeEmpty(flag) {
			continue
		}
		instead := "leave the flag out if you do not want it"
		switch {
		case flag.Default != "":
			instead = "leave the flag out for the default, " + flag.Default
		case flags["no-"+name] != nil:
			instead = "--no-" + name + " takes it away"
		}
		return usageError("--%s is empty; %s", name, instead)
	}
	return nil
}
