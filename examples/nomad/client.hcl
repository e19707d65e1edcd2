client {
  # Without it, Nomad caps kill_timeout at 30 s.
  max_kill_timeout = "75s"
}
