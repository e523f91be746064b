# Filters headers for Doxygen. Hidden is what is protected, and what a class has for the library's own use; defaulted
# members document themselves.
/^ (public|private):|^};/ && hidden { print "/// @endcond"; hidden = 0 }
(/^ protected:/ || /^  \/\/ For the library's own use/) && !hidden { print "/// @cond"; hidden = 1 }
/^extern template / { print ""; next }
{ sub(/= default;$/, "= default;  ///< Defaulted."); print }
