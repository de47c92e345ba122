-- Out: {the time now}

return { now_ms() }
