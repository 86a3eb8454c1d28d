package commands

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// Events are kept for ever and copied to every region, so a secret in one could never be taken
// back. These rules find what looks like one. They are meant for the slip of a careful person,
// not for someone who wants to hide a secret; and they must not stand in the way of text that
// only speaks of passwords.

// referenceSchemes are those by which a secret is named without being told.
var referenceSchemes = []string{"vault", "aws-sm", "env", "file"}

const storeReference = "store a reference to it (vault://…, aws-sm://…, env://… or file://…) instead"

// secretRule finds one kind of secret. The anchor is part of whatever the pattern matches; to
// look for it first spares most texts the pattern.
type secretRule struct {
	anchor  string
	pattern *regexp.Regexp
	what    string
}

var secretRules = []secretRule{
	{"-----BEGIN", regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----`), "a private key"},
	{"AGE-SECRET-KEY-", regexp.MustCompile(`AGE-SECRET-KEY-1[A-Z0-9]{20,}`), "a private key"},
	{"eyJ", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`), "a signed token (JWT)"},
	{"AKIA", regexp.MustCompile(`\bAKIA[A-Z0-9]{16}\b`), "an AWS access key"},
	{"ASIA", regexp.MustCompile(`\bASIA[A-Z0-9]{16}\b`), "an AWS access key"},
	{"gh", regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{20,}`), "a GitHub token"},
	{"github_pat_", regexp.MustCompile(`\bgithub_pat_[A-Za-z0-9_]{20,}`), "a GitHub token"},
	{"glpat-", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{16,}`), "a GitLab token"},
	{"xox", regexp.MustCompile(`\bxox[abceoprs]-[A-Za-z0-9-]{8,}`), "a Slack token"},
	{"hooks.slack.com/", regexp.MustCompile(`hooks\.slack\.com/services/T\w+/B\w+/\w{16,}`), "a Slack webhook"},
	{"k_live_", regexp.MustCompile(`\b[rsp]k_live_[A-Za-z0-9]{8,}`), "a Stripe key"},
	{"k_test_", regexp.MustCompile(`\b[rs]k_test_[A-Za-z0-9]{8,}`), "a Stripe key"},
	{"whsec_", regexp.MustCompile(`\bwhsec_[A-Za-z0-9+/=]{16,}`), "a webhook secret"},
	{"AIza", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}\b`), "a Google API key"},
	{"sk-", regexp.MustCompile(`\bsk-(?:[A-Za-z0-9]{32,}|(?:proj|ant|svcacct|admin|or)-[A-Za-z0-9_-]{20,})`), "an API key"},
	{"SG.", regexp.MustCompile(`\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`), "a SendGrid key"},
	{"npm_", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b`), "an npm token"},
	{"hvs.", regexp.MustCompile(`\bhvs\.[A-Za-z0-9_-]{20,}`), "a Vault token"},
	{"dop_v1_", regexp.MustCompile(`\bdop_v1_[a-f0-9]{32,}`), "a DigitalOcean token"},
	{"shp", regexp.MustCompile(`\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b`), "a Shopify token"},
	{":AA", regexp.MustCompile(`\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b`), "a Telegram token"},
	{"$2", regexp.MustCompile(`\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}`), "a password's hash"},
	{"$argon2", regexp.MustCompile(`\$argon2(?:id|i|d)\$v=`), "a password's hash"},
	{"earer ", regexp.MustCompile(`\b[Bb]earer [A-Za-z0-9+/_=.-]*[0-9][A-Za-z0-9+/_=.-]{15,}`), "a bearer token"},
	{"asic ", regexp.MustCompile(`(?i)authorization["']?\s*[:=]\s*["']?basic [A-Za-z0-9+/]{4,}`), "a password"},
}

var (
	// urlPassword is the password in a URL's user part, which of a database's may have a slash
	// in it unescaped; driverPassword that in the DSNs of Go's MySQL driver and of Oracle.
	urlPassword    = regexp.MustCompile(`(?:[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@"'<>]*:([^/\s@"']+)|(?:postgres|postgresql|mysql|mariadb|mongodb|mongodb\+srv|redis|rediss|amqp|amqps|sqlserver)://[^/\s:@"'<>]*:([^\s@"']+))@`)
	driverPassword = regexp.MustCompile(`[^\s:@/"']+(?::([^\s@"']+)@(?:tcp|tcp4|tcp6|unix)\(|/([^\s@/"']+)@//)`)
	// portThenAt is what urlPassword takes for a password in http://host:80?mail=a@b.example.
	portThenAt = regexp.MustCompile(`^[0-9]{1,5}[?#]`)

	// assignment is password=…, as libpq's and ADO's connection strings, .env files and query
	// strings have it; the second kind of name is too common to be one without more evidence.
	assignment = regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(?:[a-z0-9]+[_.-])*(?:(password|passwd|passphrase|pwd|client[_-]?secret|secret[_-]?(?:access[_-]?)?key|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|shared[_-]?access[_-]?key|access[_-]?token|auth[_-]?token|refresh[_-]?token)|secret|token|signature|sig)\s*=\s*("[^"]*"|'[^']*'|\{\{.*?\}\}|\$\{[^}]*\}|[^\s;&,]*)`)
	// quoted is the same in a JSON or Python text; line is a line of a YAML one.
	quoted = regexp.MustCompile(`(?i)["'](?:[a-z0-9]+[_.-])*(?:password|passwd|passphrase|client[_-]?secret|secret[_-]?key|api[_-]?key|private[_-]?key|access[_-]?token)["']\s*:\s*["']([^"']+)["']`)
	line   = regexp.MustCompile(`(?im)^[ \t]*(?:[a-z0-9]+[_.-])*(?:password|passwd|passphrase|client[_-]?secret|api[_-]?key):[ \t]+(\S+)[ \t]*$`)

	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

	placeholder = regexp.MustCompile(`^(?:\$\{[^}]*\}|\$[A-Za-z_][A-Za-z0-9_]*|\$\([^)]*\)|\{\{.*\}\}|\{[^}]*\}|<[^>]*>|%[A-Za-z_]+%|\*+|[xX]+|•+|\.{3}|…)$`)
)

// secretIn says which kind of secret s looks like or has in it; "": none.
func secretIn(s string) string {
	for i := range secretRules {
		if r := &secretRules[i]; strings.Contains(s, r.anchor) && r.pattern.MatchString(s) {
			return r.what
		}
	}
	if strings.Contains(s, "@") {
		for _, m := range urlPassword.FindAllStringSubmatch(s, -1) {
			if password := m[1] + m[2]; !isHarmless(password) && !portThenAt.MatchString(password) {
				return "a URL with a password"
			}
		}
		for _, m := range driverPassword.FindAllStringSubmatch(s, -1) {
			if !isHarmless(m[1] + m[2]) {
				return "a connection string with a password"
			}
		}
	}
	if !strings.ContainsAny(s, "=:") || !namesSecret(s) {
		return ""
	}
	if strings.Contains(s, "=") {
		for _, m := range assignment.FindAllStringSubmatch(s, -1) {
			value := strings.Trim(m[2], `"'`)
			certain := m[1] != "" || len(value) >= 12 && strings.ContainsAny(value, "0123456789")
			if certain && !isHarmless(value) {
				return "a password or key"
			}
		}
	}
	if strings.Contains(s, ":") {
		for _, pattern := range []*regexp.Regexp{quoted, line} {
			for _, m := range pattern.FindAllStringSubmatch(s, -1) {
				if !isHarmless(strings.Trim(m[1], `"'`)) {
					return "a password or key"
				}
			}
		}
	}
	return ""
}

// namesSecret reports whether s has a part of any name that the patterns of assignments look
// for. Most texts with a colon have none, and are spared the patterns.
func namesSecret(s string) bool {
	lower := strings.ToLower(s)
	for _, part := range []string{"passw", "passphrase", "pwd", "secret", "key", "token", "sig"} {
		if strings.Contains(lower, part) {
			return true
		}
	}
	return false
}

// isHarmless reports whether the value of something called a password tells no secret: it is
// a reference, a placeholder, a setting, or the address of where to get one.
func isHarmless(value string) bool {
	if strings.HasPrefix(value, "=") { // password == …, in an expression
		return true
	}
	switch strings.ToLower(value) {
	case "", "true", "false", "yes", "no", "on", "off", "none", "null", "nil", "required", "optional",
		"enabled", "disabled", "default", "unset", "redacted", "[redacted]", "(redacted)":
		return true
	}
	if scheme, rest, ok := strings.Cut(value, "://"); ok {
		switch scheme {
		case "http", "https":
			return !strings.ContainsAny(rest, "@?")
		default:
			return isReference(value)
		}
	}
	return placeholder.MatchString(value)
}

// isReference reports whether s names a secret without telling it.
func isReference(s string) bool { return referenceFault(s) == "" }

// referenceFault says what is wrong with s as a reference to a secret; "": nothing.
func referenceFault(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	known := false
	for _, r := range referenceSchemes {
		known = known || scheme == r
	}
	switch {
	case !ok || !known:
		return "is a reference to a secret: write vault://…, aws-sm://…, env://… or file://…"
	case rest == "" || strings.Trim(rest, "/") == "":
		return "has nothing behind " + scheme + "://: say where the secret is"
	case len(s) > maxSecretRef:
		return "is too long: give at most 512 octets"
	case strings.ContainsFunc(s, func(r rune) bool { return isControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar }):
		return "has white space, a control character or broken UTF-8 in it: percent-encode what is odd"
	}
	if scheme == "env" && !variableName.MatchString(rest) {
		return "names an environment variable, of letters, digits and underscores: env://NAME"
	}
	authority, _, _ := strings.Cut(rest, "/")
	if user, _, at := strings.Cut(authority, "@"); at && strings.Contains(user, ":") {
		return "has a password in it: leave out user:password@"
	}
	return ""
}

// noSecret refuses text that looks like a secret.
func (f *faults) noSecret(pointer jsontext.Pointer, what, s string) {
	if kind := secretIn(s); kind != "" {
		f.add(pointer, "the %s looks like %s, and what is recorded is kept for ever: %s", what, kind, storeReference)
	}
}

// The last words of a name that holds a secret, and the pairs of last words that do.
var (
	secretWords = map[string]bool{
		"password": true, "passwd": true, "pwd": true, "passphrase": true, "secret": true, "token": true,
		"credential": true, "credentials": true, "apikey": true, "privatekey": true, "secretkey": true,
		"accesskey": true, "clientsecret": true, "apitoken": true, "authtoken": true, "accesstoken": true,
		"refreshtoken": true, "apisecret": true, "dbpassword": true, "userpassword": true,
	}
	secretPairs = map[string]bool{
		"api key": true, "private key": true, "secret key": true, "access key": true, "signing key": true,
		"encryption key": true, "master key": true, "account key": true, "shared key": true, "hmac key": true,
		"db pass": true, "database pass": true, "user pass": true, "smtp pass": true, "mail pass": true,
		"admin pass": true, "root pass": true, "redis pass": true, "mysql pass": true, "pg pass": true,
	}
)

// isSecretName reports whether a key or member of that name holds a secret: by its last
// words, so that password_policy and token_ttl do not.
func isSecretName(name string) bool {
	words := splitWords(name)
	if len(words) == 0 {
		return false
	}
	last := words[len(words)-1]
	if secretWords[last] {
		return true
	}
	return len(words) > 1 && secretPairs[words[len(words)-2]+" "+last]
}

// splitWords is a name's words in lower case: at what is no letter or digit, and where camel
// case has them.
func splitWords(name string) []string {
	var words []string
	var word []rune
	flush := func() {
		if len(word) > 0 {
			words, word = append(words, strings.ToLower(string(word))), nil
		}
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || unicode.IsDigit(runes[i-1])):
			flush()
		case unicode.IsUpper(r) && i > 0 && i+1 < len(runes) && unicode.IsUpper(runes[i-1]) && unicode.IsLower(runes[i+1]):
			flush() // the T of APIToken
		}
		word = append(word, r)
	}
	flush()
	return words
}
