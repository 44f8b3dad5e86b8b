return function(req, out)
  out:text("hello")
end
