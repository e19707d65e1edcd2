# Types each line and Tab into an interactive zsh, and prints what its completion system takes for it, each in <>, and
# an empty line behind each line's.
#
#   zsh --no-rcs ask.zsh FOLDER-OF-FUNCTIONS LINE...
zmodload zsh/zpty
zpty inner zsh --no-rcs -i
type() { zpty -w inner "$1" }
type "PROMPT= RPROMPT= fpath=(${(q)1} \$fpath); stty -echo; autoload -Uz compinit; compinit -u -D; bindkey '^I' complete-word"
type 'compadd() {
  local -a found
  [[ "$*" == *-(O|A|D)\ * ]] || { builtin compadd -A found "$@"; print -rl -- "<"${(Q)^found}">" }
  builtin compadd "$@"
}'
type 'next() { BUFFER=; print -r -- END }; zle -N next; bindkey "^X" next; print -r -- READY'
zpty -r inner said '*READY'
for line in "${@:2}"; do
  zpty -w -n inner "$line"$'\t\x18'
  zpty -r inner said '*END'
  for found in ${(f)said}; do
    [[ $found == (#b)*'<'(*)'>'* ]] && print -r -- "<$match[1]>"
  done
  print
done
